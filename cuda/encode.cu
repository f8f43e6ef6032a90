// Rows of any floating dtype to codes, 16 lanes a row: the lanes in which the norm is summed.
#include <cuda_fp16.h>

#include "clip.cuh"
#include "runtime.hpp"

namespace cloister {
namespace {

constexpr int norm_lanes = 16, block_threads = 256, rows_of_block = block_threads / norm_lanes;

struct Bfloat16 {
  uint16_t bits;
};

__device__ __forceinline__ float as_float(float value) { return value; }
__device__ __forceinline__ float as_float(double value) { return __double2float_rn(value); }
__device__ __forceinline__ float as_float(__half value) { return __half2float(value); }
__device__ __forceinline__ float as_float(Bfloat16 value) {
  return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}

template <class Value>
__global__ void __launch_bounds__(block_threads)
    encode_rows(const Value* rows, int64_t row_stride, int64_t n, int64_t d, Clip clip,
                int16_t* codes, uint8_t* valid) {
  const int lane = static_cast<int>(threadIdx.x) % norm_lanes;
  const int64_t row = int64_t{blockIdx.x} * rows_of_block + threadIdx.x / norm_lanes;
  const bool is_row = row < n;  // others keep the warp company
  const int64_t length = is_row ? d : 0;
  const Value* values = rows + (is_row ? row * row_stride : 0);
  int16_t* own = codes + (is_row ? row * d : 0);

  double sum = 0.0;  // squares of float32 are exact: whether one fuses makes no difference
  for (int64_t j = lane; j < length; j += norm_lanes) {
    const double x = as_float(values[j]);
    sum = __dadd_rn(sum, __dmul_rn(x, x));
  }
  const double norm_squared = group_sum<norm_lanes>(sum);
  const bool is_finite = norm_squared <= 1.7976931348623157e308;
  const double factor = clip_factor(__dsqrt_rn(norm_squared), clip);

  // Returns this lane's part of the sum of their squares, taken of the codes as they are stored.
  auto store = [&](auto&& code) {
    int64_t squares = 0;
    for (int64_t j = lane; j < length; j += norm_lanes) {
      own[j] = static_cast<int16_t>(code(j));
      const int64_t stored = own[j];
      squares += stored * stored;
    }
    return squares;
  };
  // The rows may be the caller's memory, which others write to while we read. The guarantee rests
  // on the check below: it is of our own memory, where a lane meets no codes but its own.
  int64_t squares =
      store([&](int64_t j) { return is_finite ? scaled(as_float(values[j]), factor) : 0; });
  for (int steps = 1; steps <= becomes_zero; ++steps) {
    const bool is_inside = group_sum<norm_lanes>(squares) <= clip.bound * clip.bound;
    if (__all_sync(whole_warp, is_inside)) break;
    if (is_inside) continue;
    squares = store([&](int64_t j) { return steps < becomes_zero ? towards_zero(own[j]) : 0; });
  }
  if (is_row && lane == 0) valid[row] = is_finite;
}

template <class Value>
void encode_all(const void* rows, int64_t row_stride, int64_t n, int64_t d, Clip clip,
                int16_t* codes, uint8_t* valid, const Execution& execution) {
  const int64_t step = divide_up(int64_t{1} << 30, d);  // some milliseconds
  Pace pace(execution);
  for (int64_t first = 0; first < n; first += step) {
    const int64_t count = std::min(step, n - first);
    launch(encode_rows<Value>, {divide_up(count, rows_of_block)}, block_threads, 0, execution,
           static_cast<const Value*>(rows) + first * row_stride, row_stride, count, d, clip,
           codes + first * d, valid + first);
    pace.step();
  }
}

}  // namespace

void encode(const void* rows, Dtype dtype, int64_t row_stride, int64_t n, int64_t d, Clip clip,
            int16_t* codes, uint8_t* valid, Execution execution) {
  auto all = [&](auto value) {
    encode_all<decltype(value)>(rows, row_stride, n, d, clip, codes, valid, execution);
  };
  switch (dtype) {
    case Dtype::float32:
      all(float{});
      break;
    case Dtype::float64:
      all(double{});
      break;
    case Dtype::float16:
      all(__half{});
      break;
    case Dtype::bfloat16:
      all(Bfloat16{});
      break;
  }
  wait(execution);
}

}  // namespace cloister
