// Clip of kernels.hpp by a group of `width` neighbouring lanes of a warp, in the host's bits: every
// product, sum, quotient and root is rounded on its own.
#pragma once

#include <type_traits>

#include "../cpp/kernels.hpp"
#include "instructions.cuh"

namespace cloister {

__device__ __forceinline__ double clip_factor(double norm, const Clip& clip) {
  return __ddiv_rn(clip.target, norm > clip.radius ? norm : clip.radius);
}

// rint(value * factor), of at most 2^31 in magnitude
__device__ __forceinline__ int32_t scaled(double value, double factor) {
  return __double2int_rn(__dmul_rn(value, factor));
}

__device__ __forceinline__ int32_t towards_zero(int32_t code) {
  return code - (code > 0) + (code < 0);
}

// The sum over the group, in each of its lanes.
template <int width, class T>
__device__ __forceinline__ T group_sum(T value) {
  if constexpr (width == 32 && sizeof(T) == sizeof(int32_t) && std::is_integral_v<T>) {
    return __reduce_add_sync(whole_warp, value);
  } else {
    for (int half = width / 2; half > 0; half /= 2) {
      value += __shfl_xor_sync(whole_warp, value, half);
    }
    return value;
  }
}

// The last word on a vector: how often its codes move towards zero before their norm is within the
// bound, 0 .. 2, or 3 for a vector that becomes zero. squares(steps) is this lane's part of the
// sum of the squares of the codes after so many steps. All lanes of the warp take part.
constexpr int becomes_zero = 3;
template <int width, class Squares>
__device__ __forceinline__ int steps_into_ball(int64_t bound, Squares&& squares) {
  int found = becomes_zero;
  for (int steps = 0; steps < becomes_zero; ++steps) {
    const bool inside = group_sum<width>(squares(steps)) <= bound * bound;
    if (inside && found == becomes_zero) found = steps;
    // The groups of a warp go on together.
    if (__all_sync(whole_warp, found != becomes_zero)) break;
  }
  return found;
}

__device__ __forceinline__ int32_t after_steps(int32_t code, int steps) {
  if (steps == becomes_zero) return 0;
  for (int i = 0; i < steps; ++i) code = towards_zero(code);
  return code;
}

}  // namespace cloister
