// The part of CUDA that cloister's kernels use, on the host: cuda/*.cu compiled by a C++ compiler
// against this header run on a machine without a GPU, slowly and strictly. It emulates
//   - blocks of threads that take turns (fibers.hpp), so that a missing barrier shows,
//   - streams whose work waits until someone synchronises, so that a missing wait shows,
//   - device memory that ends at a page without access and starts out as garbage,
//   - the warp's collective instructions, and copies that arrive when they are waited for.
// It says nothing about speed, and nothing about the memory model of a real device.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
using uint3 = dim3;

#define EMULATED_VECTOR(type, name, alignment)                                          \
  struct alignas(alignment) name##2 { type x, y; };                                     \
  struct alignas(2 * alignment > 16 ? 16 : 2 * alignment) name##4 { type x, y, z, w; }; \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                      \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATED_VECTOR(short, short, 4)
EMULATED_VECTOR(int, int, 8)
EMULATED_VECTOR(unsigned, uint, 8)
EMULATED_VECTOR(float, float, 8)
EMULATED_VECTOR(double, double, 16)
EMULATED_VECTOR(long long, longlong, 16)
#undef EMULATED_VECTOR

#include "emulated_math.hpp"
#include "emulated_runtime.hpp"
#include "emulated_threads.hpp"
