// Clip of the difference of a row and a centre, in the host's bits.
#pragma once

#include "clip.cuh"

namespace cloister {

// Exact, by bits: conversions to and from float64 run at a quarter of the rate of its sums.
__device__ __forceinline__ double as_double(int32_t value) {
  constexpr double offset = 0x1p52 + 0x1p31;
  return __dadd_rn(__hiloint2double(0x43300000, value ^ static_cast<int32_t>(0x80000000u)),
                   -offset);
}

// rint(value * factor), of less than 2^31 in magnitude: the low bits of the product plus 1.5 *
// 2^52.
__device__ __forceinline__ int32_t rounded_product(double value, double factor) {
  return __double2loint(__dadd_rn(__dmul_rn(value, factor), 0x1.8p52));
}

// Both vectors have norms of at most 2^14: that of the difference is at most 2^15, and the sum of
// its squares fits int32. So do those of residuals, whose norm is near a bound of at most 2^14.
__device__ __forceinline__ double residual_factor(int32_t norm_squared, const Clip& clip) {
  return clip_factor(__dsqrt_rn(as_double(norm_squared)), clip);
}

// The guarantee rests on this check, made on the very integers that are summed. Each lane of the
// group has `count` codes of the vector.
template <int width, int count>
__device__ __forceinline__ void keep_in_ball(int32_t (&codes)[count], int64_t bound) {
  for (int attempt = 0; attempt < becomes_zero; ++attempt) {
    int32_t squares = 0;
#pragma unroll
    for (int e = 0; e < count; ++e) squares += codes[e] * codes[e];
    const bool inside = group_sum<width>(squares) <= bound * bound;
    if (__all_sync(whole_warp, inside)) return;
    if (inside) continue;
#pragma unroll
    for (int e = 0; e < count; ++e) {
      codes[e] = attempt < becomes_zero - 1 ? towards_zero(codes[e]) : 0;
    }
  }
}

}  // namespace cloister
