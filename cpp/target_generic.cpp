// Every processor: no more than the language, and SSE2 where the baseline has it.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "targets.hpp"

namespace cloister::target_generic {
namespace {

bool is_supported() { return true; }

namespace simd {

typedef int32_t Int32 __attribute__((vector_size(16)));
typedef float Float32 __attribute__((vector_size(16)));
typedef double Float64 __attribute__((vector_size(16)));
constexpr int64_t broadcast_block = 5;  // vectors of 2 x this many accumulators fit the registers

// accumulator + a.low * b.low + a.high * b.high, of the two int16 halves of each lane
[[gnu::always_inline]] inline Int32 add_pair_products(Int32 accumulator, Int32 a, Int32 b) {
#if defined(__SSE2__)
  return accumulator + (Int32)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  const Int32 low = ((a << 16) >> 16) * ((b << 16) >> 16);
  return accumulator + low + (a >> 16) * (b >> 16);
#endif
}

// sums + the squares of pairs; sums beyond 2^30 may be less, but not below 2^30.
[[gnu::always_inline]] inline Int32 add_capped_squares(Int32 sums, Int32 a) {
  typedef uint32_t Uint32 __attribute__((vector_size(16)));
  const Uint32 total = (Uint32)add_pair_products(sums, a, a), most = Uint32{} + (1u << 30);
  return (Int32)(total < most ? total : most);
}

[[gnu::always_inline]] inline Float64 widen(const int16_t* source) {
  return Float64{double(source[0]), double(source[1])};
}

[[gnu::always_inline]] inline Float64 widen(const float* source) {
  return Float64{source[0], source[1]};
}

// The low 16 bits of each lane.
[[gnu::always_inline]] inline void store_low_words(int16_t* target, const Float64 (&from)[8]) {
  uint64_t bits[16];
  std::memcpy(bits, from, sizeof bits);
  for (int i = 0; i < 16; ++i) target[i] = int16_t(bits[i]);
}

[[gnu::always_inline]] inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// IEEE binary16, by rebiasing the exponent; subnormals are normalised by a subtraction.
[[gnu::always_inline]] inline float from_half(uint16_t half) {
  const uint32_t magnitude = uint32_t(half & 0x7fffu) << 13;
  const uint32_t exponent = magnitude & 0x0f800000u;
  const float normal = from_bits(magnitude + (112u << 23));
  const float special = from_bits(magnitude + (224u << 23));  // infinity, NaN
  const float subnormal = from_bits(magnitude + (113u << 23)) - from_bits(113u << 23);
  const float absolute = exponent == 0x0f800000u ? special : exponent == 0 ? subnormal : normal;
  return (half & 0x8000u) ? -absolute : absolute;
}

[[gnu::always_inline]] inline Float32 load_halves(const uint16_t* source) {
  Float32 result;
  for (int lane = 0; lane < 4; ++lane) result[lane] = from_half(source[lane]);
  return result;
}

[[gnu::always_inline]] inline Float32 multiply_add(Float32 a, Float32 b, Float32 c) {
  Float32 result;
  for (int lane = 0; lane < 4; ++lane) result[lane] = std::fmaf(a[lane], b[lane], c[lane]);
  return result;
}

// Products of the low halves of the 64-bit lanes.
[[gnu::always_inline]] inline Int32 multiply_low_halves(Int32 a, Int32 b) {
  typedef uint64_t Uint64 __attribute__((vector_size(16)));
  return (Int32)(((Uint64)a & UINT32_MAX) * ((Uint64)b & UINT32_MAX));
}

[[gnu::always_inline]] inline Float32 square_root(Float32 a) {
  Float32 result;
  for (int lane = 0; lane < 4; ++lane) result[lane] = std::sqrt(a[lane]);
  return result;
}

constexpr bool prefers_int8 = false;

// accumulator + the products of the four unsigned bytes of a with the signed ones of b
[[gnu::always_inline]] inline Int32 add_byte_products(Int32 accumulator, Int32 a, Int32 b) {
  for (int place = 24; place >= 0; place -= 8) {
    accumulator += ((a >> (24 - place)) & 0xFF) * ((b << place) >> 24);
  }
  return accumulator;
}

[[gnu::always_inline]] inline int32_t sum(Int32 a) { return a[0] + a[1] + a[2] + a[3]; }

[[gnu::always_inline]] inline uint32_t less_equal_bits(Float32 a, Float32 b) {
  uint32_t bits = 0;
  for (int lane = 0; lane < 4; ++lane) bits |= uint32_t(a[lane] <= b[lane]) << lane;
  return bits;
}

[[gnu::always_inline]] inline void store_low_bytes(uint8_t* target, Int32 a) {
  for (int lane = 0; lane < 4; ++lane) target[lane] = uint8_t(a[lane]);
}

// Of the 16-bit halves of the lanes: (a * b + 2^14) >> 15.
[[gnu::always_inline]] inline Int32 multiply_high_rounded(Int32 a, Int32 b) {
  int16_t left[8], right[8];
  std::memcpy(left, &a, sizeof left);
  std::memcpy(right, &b, sizeof right);
  for (int i = 0; i < 8; ++i) left[i] = int16_t((left[i] * right[i] + (1 << 14)) >> 15);
  std::memcpy(&a, left, sizeof left);
  return a;
}

// Of the 16-bit halves of the lanes.
[[gnu::always_inline]] inline Int32 largest_magnitude(Int32 a, Int32 b) {
  uint16_t largest[8];
  int16_t other[8];
  std::memcpy(largest, &a, sizeof largest);
  std::memcpy(other, &b, sizeof other);
  for (int i = 0; i < 8; ++i) {
    const uint16_t size = uint16_t(other[i] < 0 ? -other[i] : other[i]);
    largest[i] = largest[i] < size ? size : largest[i];
  }
  std::memcpy(&a, largest, sizeof largest);
  return a;
}

// The low bytes of the 16-bit halves of the lanes.
[[gnu::always_inline]] inline void store_bytes_of_halves(uint8_t* target, Int32 a) {
  int16_t halves[8];
  std::memcpy(halves, &a, sizeof halves);
  for (int i = 0; i < 8; ++i) target[i] = uint8_t(halves[i]);
}

}  // namespace simd

#include "target_loops.inl"

}  // namespace
}  // namespace cloister::target_generic

namespace cloister {
const Targets generic_targets = target_generic::table("generic");
}
