// x86-64 with AVX2 and FMA.
#include "targets.hpp"

#if defined(__x86_64__)
// Every header comes before the pragma: what they hold must stay baseline code.
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2")

namespace cloister::target_avx2 {
namespace {

bool is_supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

namespace simd {

typedef int32_t Int32 __attribute__((vector_size(32)));
typedef float Float32 __attribute__((vector_size(32)));
typedef double Float64 __attribute__((vector_size(32)));
constexpr int64_t broadcast_block = 5;  // 2 x 5 accumulators and 3 operands fit 16 registers

[[gnu::always_inline]] inline Int32 add_pair_products(Int32 accumulator, Int32 a, Int32 b) {
  return accumulator + (Int32)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}

[[gnu::always_inline]] inline Float64 widen_difference(const int16_t* a, const int16_t* b) {
  const __m128i left = _mm_cvtepi16_epi32(_mm_loadl_epi64((const __m128i*)a));
  const __m128i right = _mm_cvtepi16_epi32(_mm_loadl_epi64((const __m128i*)b));
  return _mm256_cvtepi32_pd(_mm_sub_epi32(left, right));
}

[[gnu::always_inline]] inline Float64 widen(const float* source) {
  return _mm256_cvtps_pd(_mm_loadu_ps(source));
}

[[gnu::always_inline]] inline void store_low_words(int16_t* target, const Float64 (&from)[4]) {
  // The low half of each 64-bit lane, then the low half of each of those, then their order.
  const __m256i word = _mm256_set1_epi32(0xFFFF);
  const __m256 low = _mm256_shuffle_ps((__m256)from[0], (__m256)from[1], 0x88);
  const __m256 high = _mm256_shuffle_ps((__m256)from[2], (__m256)from[3], 0x88);
  const __m256i packed = _mm256_packus_epi32(_mm256_and_si256((__m256i)low, word),
                                             _mm256_and_si256((__m256i)high, word));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256((__m256i*)target, _mm256_permutevar8x32_epi32(packed, order));
}

[[gnu::always_inline]] inline Float32 load_halves(const uint16_t* source) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)source));
}

[[gnu::always_inline]] inline Float32 multiply_add(Float32 a, Float32 b, Float32 c) {
  return _mm256_fmadd_ps(a, b, c);
}

// Products of the low halves of the 64-bit lanes.
[[gnu::always_inline]] inline Int32 multiply_low_halves(Int32 a, Int32 b) {
  return (Int32)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}

[[gnu::always_inline]] inline Float32 square_root(Float32 a) { return _mm256_sqrt_ps(a); }

}  // namespace simd

#include "target_loops.inl"

}  // namespace
}  // namespace cloister::target_avx2

#pragma GCC pop_options

namespace cloister {
const Targets avx2_targets = target_avx2::table("avx2");
}
#else
namespace cloister {
const Targets avx2_targets = unsupported_targets("avx2");
}
#endif
