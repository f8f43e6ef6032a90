// x86-64 with AVX2 and FMA.
#include "targets.hpp"

#if defined(__x86_64__)
// Every header comes before the pragma: what they hold must stay baseline code.
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>

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

// sums + the squares of pairs; sums beyond 2^30 may be less, but not below 2^30.
[[gnu::always_inline]] inline Int32 add_capped_squares(Int32 sums, Int32 a) {
  const __m256i squares = _mm256_madd_epi16((__m256i)a, (__m256i)a);
  return (Int32)_mm256_min_epu32(_mm256_add_epi32((__m256i)sums, squares),
                                 _mm256_set1_epi32(1 << 30));
}

[[gnu::always_inline]] inline Float64 widen(const int16_t* source) {
  return _mm256_cvtepi32_pd(_mm_cvtepi16_epi32(_mm_loadl_epi64((const __m128i*)source)));
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

constexpr bool prefers_int8 = false;  // madd of 16 bits at a time is no faster than float32

// accumulator + the products of the four unsigned bytes of a with the signed ones of b
[[gnu::always_inline]] inline Int32 add_byte_products(Int32 accumulator, Int32 a, Int32 b) {
  const __m256i even = _mm256_and_si256((__m256i)a, _mm256_set1_epi16(0xFF));
  const __m256i odd = _mm256_srli_epi16((__m256i)a, 8);
  const __m256i other_even = _mm256_srai_epi16(_mm256_slli_epi16((__m256i)b, 8), 8);
  const __m256i other_odd = _mm256_srai_epi16((__m256i)b, 8);
  return accumulator + (Int32)_mm256_madd_epi16(even, other_even) +
         (Int32)_mm256_madd_epi16(odd, other_odd);
}

[[gnu::always_inline]] inline int32_t sum(Int32 a) {
  const __m128i half =
      _mm_add_epi32(_mm256_castsi256_si128((__m256i)a), _mm256_extracti128_si256((__m256i)a, 1));
  const __m128i pair = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  return _mm_cvtsi128_si32(pair) + _mm_extract_epi32(pair, 1);
}

[[gnu::always_inline]] inline uint32_t less_equal_bits(Float32 a, Float32 b) {
  return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LE_OQ)));
}

[[gnu::always_inline]] inline void store_low_bytes(uint8_t* target, Int32 a) {
  for (int lane = 0; lane < 8; ++lane) target[lane] = uint8_t(a[lane]);
}

// Of the 16-bit halves of the lanes: (a * b + 2^14) >> 15.
[[gnu::always_inline]] inline Int32 multiply_high_rounded(Int32 a, Int32 b) {
  return (Int32)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b);
}

// Of the 16-bit halves of the lanes.
[[gnu::always_inline]] inline Int32 largest_magnitude(Int32 a, Int32 b) {
  return (Int32)_mm256_max_epu16((__m256i)a, _mm256_abs_epi16((__m256i)b));
}

// The low bytes of the 16-bit halves of the lanes.
[[gnu::always_inline]] inline void store_bytes_of_halves(uint8_t* target, Int32 a) {
  int16_t halves[16];
  std::memcpy(halves, &a, sizeof halves);
  for (int i = 0; i < 16; ++i) target[i] = uint8_t(halves[i]);
}

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
