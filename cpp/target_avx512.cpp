// x86-64 with AVX-512 (F, BW, DQ, VL) and VNNI.
#include "targets.hpp"

#if defined(__x86_64__)
// Every header comes before the pragma: what they hold must stay baseline code.
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#pragma GCC target("prefer-vector-width=512")

namespace cloister::target_avx512 {
namespace {

bool is_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

namespace simd {

typedef int32_t Int32 __attribute__((vector_size(64)));
typedef float Float32 __attribute__((vector_size(64)));
typedef double Float64 __attribute__((vector_size(64)));
constexpr int64_t broadcast_block = 12;  // 2 x 12 accumulators and 3 operands fit 32 registers

[[gnu::always_inline]] inline Int32 add_pair_products(Int32 accumulator, Int32 a, Int32 b) {
  return (Int32)_mm512_dpwssd_epi32((__m512i)accumulator, (__m512i)a, (__m512i)b);
}

// sums + the squares of pairs; sums beyond 2^30 may be less, but not below 2^30.
[[gnu::always_inline]] inline Int32 add_capped_squares(Int32 sums, Int32 a) {
  return (Int32)_mm512_dpwssds_epi32((__m512i)sums, (__m512i)a, (__m512i)a);
}

[[gnu::always_inline]] inline Float64 widen(const int16_t* source) {
  const __m256i values = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i*)source));
  return _mm512_maskz_cvtepi32_pd(0xFF, values);
}

[[gnu::always_inline]] inline Float64 widen(const float* source) {
  return _mm512_maskz_cvtps_pd(0xFF, _mm256_loadu_ps(source));
}

[[gnu::always_inline]] inline void store_low_words(int16_t* target, const Float64 (&from)[2]) {
  // The lowest of the four words of each lane, of one vector and then of the other.
  typedef int16_t Int16 __attribute__((vector_size(64)));
  constexpr Int16 places = {0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60};
  const __m512i words =
      _mm512_permutex2var_epi16((__m512i)from[0], (__m512i)places, (__m512i)from[1]);
  std::memcpy(target, &words, sizeof(__m256i));
}

[[gnu::always_inline]] inline Float32 load_halves(const uint16_t* source) {
  return _mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256((const __m256i*)source));
}

[[gnu::always_inline]] inline Float32 multiply_add(Float32 a, Float32 b, Float32 c) {
  return _mm512_fmadd_ps(a, b, c);
}

// GCC 12 warns of the undefined operand inside the unmasked forms of the next two; a full mask
// costs nothing. Products of the low halves of the 64-bit lanes:
[[gnu::always_inline]] inline Int32 multiply_low_halves(Int32 a, Int32 b) {
  return (Int32)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);
}

[[gnu::always_inline]] inline Float32 square_root(Float32 a) {
  return _mm512_maskz_sqrt_ps(0xFFFF, a);
}

constexpr bool prefers_int8 = true;

// accumulator + the products of the four unsigned bytes of a with the signed ones of b
[[gnu::always_inline]] inline Int32 add_byte_products(Int32 accumulator, Int32 a, Int32 b) {
  return (Int32)_mm512_dpbusd_epi32((__m512i)accumulator, (__m512i)a, (__m512i)b);
}

[[gnu::always_inline]] inline int32_t sum(Int32 a) {
  __m256i halves[2];
  std::memcpy(halves, &a, sizeof halves);
  const __m256i half = _mm256_add_epi32(halves[0], halves[1]);
  const __m128i quarter =
      _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  const __m128i pair = _mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0x4E));
  return _mm_cvtsi128_si32(pair) + _mm_extract_epi32(pair, 1);
}

[[gnu::always_inline]] inline uint32_t less_equal_bits(Float32 a, Float32 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}

[[gnu::always_inline]] inline void store_low_bytes(uint8_t* target, Int32 a) {
  _mm_storeu_si128((__m128i*)target, _mm512_maskz_cvtepi32_epi8(0xFFFF, (__m512i)a));
}

// Of the 16-bit halves of the lanes: (a * b + 2^14) >> 15.
[[gnu::always_inline]] inline Int32 multiply_high_rounded(Int32 a, Int32 b) {
  return (Int32)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b);
}

// Of the 16-bit halves of the lanes.
[[gnu::always_inline]] inline Int32 largest_magnitude(Int32 a, Int32 b) {
  return (Int32)_mm512_max_epu16((__m512i)a, _mm512_abs_epi16((__m512i)b));
}

// The low bytes of the 16-bit halves of the lanes.
[[gnu::always_inline]] inline void store_bytes_of_halves(uint8_t* target, Int32 a) {
  _mm256_storeu_si256((__m256i*)target, _mm512_maskz_cvtepi16_epi8(UINT32_MAX, (__m512i)a));
}

}  // namespace simd

#include "target_loops.inl"

}  // namespace
}  // namespace cloister::target_avx512

#pragma GCC pop_options

namespace cloister {
const Targets avx512_targets = target_avx512::table("avx512");
}
#else
namespace cloister {
const Targets avx512_targets = unsupported_targets("avx512");
}
#endif
