// A residual in three planes of int8: see residual_planes.hpp.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace cloister {

struct Split {
  int high, low;  // both in [-32, 32]
  __device__ __forceinline__ explicit Split(int32_t residual)
      : high((residual + 32) >> 6), low(residual - 64 * high) {}
  __device__ __forceinline__ int8_t plane(int which) const {
    return static_cast<int8_t>(which == 0 ? high : which == 1 ? high + low : low);
  }
};

}  // namespace cloister
