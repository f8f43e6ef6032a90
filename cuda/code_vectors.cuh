// Reading int16 codes eight at a time.
#pragma once

#include "instructions.cuh"

namespace cloister {

constexpr int codes_at_once = 8;
constexpr int codes_of_warp = 32 * codes_at_once;

// Vectors of d codes, which may be read 16 bytes at a time if all start on a multiple of 16.
inline bool codes_are_aligned(const int16_t* codes, int64_t d) {
  return d % codes_at_once == 0 && reinterpret_cast<std::uintptr_t>(codes) % 16 == 0;
}

// Codes t .. t + 7 of a vector of d, zeros past its end; t is a multiple of 8.
__device__ __forceinline__ void load_codes(const int16_t* vector, int64_t t, int64_t d,
                                           bool is_aligned, int32_t (&out)[codes_at_once]) {
  if (is_aligned && t < d) {
    const int4 words = *reinterpret_cast<const int4*>(vector + t);
    const int32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = static_cast<int16_t>(pairs[i] & 0xffff);
      out[2 * i + 1] = pairs[i] >> 16;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < codes_at_once; ++i) out[i] = t + i < d ? vector[t + i] : 0;
}

// |c|^2 - 2 <x, c> by a warp, in all lanes: exact for norms of at most 2^14, whatever the order,
// since sums wrap modulo 2^32.
__device__ __forceinline__ int32_t warp_score(const int16_t* code, const int16_t* centre, int64_t d,
                                              bool is_aligned) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint32_t sum = 0;
  for (int64_t t = lane * codes_at_once; t < d; t += codes_of_warp) {
    int32_t x[codes_at_once], c[codes_at_once];
    load_codes(code, t, d, is_aligned, x);
    load_codes(centre, t, d, is_aligned, c);
#pragma unroll
    for (int i = 0; i < codes_at_once; ++i) sum += static_cast<uint32_t>(c[i] * (c[i] - 2 * x[i]));
  }
  return static_cast<int32_t>(__reduce_add_sync(whole_warp, sum));
}

}  // namespace cloister
