// The standard normals of cpp/normal.inl, whose steps these are: Philox4x32-10, then the transform
// of Box and Muller in float32, every step rounded correctly.
#pragma once

#include "instructions.cuh"

namespace cloister {

// The keys of all rounds: as a kernel's argument they cost no instruction.
struct PhiloxKeys {
  uint32_t first[10], second[10];

  explicit PhiloxKeys(uint64_t seed) {
    for (uint32_t round = 0; round < 10; ++round) {
      first[round] = static_cast<uint32_t>(seed) + round * 0x9E3779B9u;
      second[round] = static_cast<uint32_t>(seed >> 32) + round * 0xBB67AE85u;
    }
  }
};

__device__ __forceinline__ uint4 philox(uint64_t row, uint32_t block, const PhiloxKeys& keys) {
  uint32_t x[4] = {static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32), block, 0};
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{x[0]} * 0xD2511F53u;
    const uint64_t product1 = uint64_t{x[2]} * 0xCD9E8D57u;
    x[0] = static_cast<uint32_t>(product1 >> 32) ^ x[1] ^ keys.first[round];
    x[1] = static_cast<uint32_t>(product1);
    x[2] = static_cast<uint32_t>(product0 >> 32) ^ x[3] ^ keys.second[round];
    x[3] = static_cast<uint32_t>(product0);
  }
  return make_uint4(x[0], x[1], x[2], x[3]);
}

// float32((65536 high + low + 1/2) 2^power), correctly rounded, for |high| < 2^22 and low < 2^16:
// written into the low bits of a large constant an integer is a float without a conversion, and all
// but the last sum are exact.
template <int power = 0>
__device__ __forceinline__ float to_float(int32_t high, uint32_t low) {
  constexpr int32_t scale = power * (1 << 23);
  constexpr float unit = power == 0 ? 1.0f : 0x1p-29f;
  static_assert(power == 0 || power == -29);
  const float above = __fsub_rn(__int_as_float(0x53400000 + scale + high), 0x1.8p39f * unit);
  const float below = __fsub_rn(__int_as_float((0x4B000000 + scale) | static_cast<int32_t>(low)),
                                0x1.fffffep22f * unit);
  return __fadd_rn(above, below);
}

// sqrt(-2 ln u), u = (word + 1/2) / 2^32
__device__ __forceinline__ float normal_radius(uint32_t word) {
  constexpr int32_t sqrt_half = 0x3F3504F3;  // bits of float32(sqrt(1/2))
  // From this word on the float of word + 1/2 is at least 2^32 sqrt(1/2): u is near 1, and its
  // complement has the low bits of 1 - u.
  const bool is_near_one = word >= 0xB504F280u;
  const uint32_t near = is_near_one ? ~word : word;
  const float value = to_float(static_cast<int32_t>(near >> 16), near & 0xFFFFu);
  const int32_t bits = __float_as_int(value);
  const int32_t exponent = (bits - sqrt_half) >> 23;  // value = 2^exponent * mantissa
  const float mantissa = __int_as_float(bits - exponent * (1 << 23));
  const float f = is_near_one ? __fmul_rn(value, -0x1p-32f) : __fsub_rn(mantissa, 1.0f);
  const float power =  // exponent - 32, converted as in to_float
      is_near_one ? 0.0f : __fsub_rn(__int_as_float(0x4B400000 - 32 + exponent), 0x1.8p23f);
  float p = 0x1.383d96p-3f;
  p = __fmaf_rn(p, f, -0x1.084e00p-2f);
  p = __fmaf_rn(p, f, 0x1.0f375cp-2f);
  p = __fmaf_rn(p, f, -0x1.22709cp-2f);
  p = __fmaf_rn(p, f, 0x1.54274ap-2f);
  p = __fmaf_rn(p, f, -0x1.99a402p-2f);
  p = __fmaf_rn(p, f, 0x1.000428p-1f);
  p = __fmaf_rn(p, f, -0x1.555550p-1f);
  p = __fmaf_rn(p, f, 0x1.fffff8p-1f);
  const float slope = __fmaf_rn(p, f, -2.0f);
  return __fsqrt_rn(__fmaf_rn(power, -0x1.62e430p+0f, __fmul_rn(f, slope)));
}

// Cosine and sine of 2 pi (word + 1/2) / 2^32.
__device__ __forceinline__ float2 unit_circle(uint32_t word) {
  const uint32_t turned = word + 0x20000000u;  // its two high bits are the quadrant
  const int32_t rest = static_cast<int32_t>(word - (turned & 0xC0000000u));
  const float y = to_float<-29>(rest >> 16, static_cast<uint32_t>(rest) & 0xFFFFu);
  const float square = __fmul_rn(y, y);
  float p = -0x1.2d9bb8p-15f;
  p = __fmaf_rn(p, square, 0x1.465ec6p-9f);
  p = __fmaf_rn(p, square, -0x1.4abbbap-4f);
  p = __fmaf_rn(p, square, 0x1.921fb6p-1f);
  float q = 0x1.d9f7bap-19f;
  q = __fmaf_rn(q, square, -0x1.55c664p-12f);
  q = __fmaf_rn(q, square, 0x1.03c1dep-6f);
  q = __fmaf_rn(q, square, -0x1.3bd3ccp-2f);
  const uint32_t s = __float_as_uint(__fmul_rn(y, p));
  const uint32_t c = __float_as_uint(__fmaf_rn(q, square, 1.0f));
  const bool is_odd = turned & 0x40000000u;
  const uint32_t sign = 0x80000000u;
  return make_float2(__uint_as_float((is_odd ? s : c) ^ ((turned + 0x40000000u) & sign)),
                     __uint_as_float((is_odd ? c : s) ^ (turned & sign)));
}

// z_(4 block) .. z_(4 block + 3) of a row.
__device__ __forceinline__ float4 normal_block(uint64_t row, uint32_t block,
                                               const PhiloxKeys& keys) {
  const uint4 words = philox(row, block, keys);
  const float first = normal_radius(words.x), second = normal_radius(words.z);
  const float2 a = unit_circle(words.y), b = unit_circle(words.w);
  return make_float4(__fmul_rn(first, a.x), __fmul_rn(first, a.y), __fmul_rn(second, b.x),
                     __fmul_rn(second, b.y));
}

}  // namespace cloister
