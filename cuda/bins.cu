#include "clip.cuh"
#include "count.cuh"
#include "runtime.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256, block_warps = block_threads / 32;
constexpr int axes_at_once = 4;
constexpr int64_t most_shared_bins = 8192;  // over all classes
constexpr int64_t few_features = 32;        // with so few a lane does better with a row of its own

// On the device.
struct BinTask {
  const int16_t* codes;
  int64_t d;
  Grid grid;
  const int64_t* offsets;
  int64_t classes, size;  // the size is the number of bins of a class
};

__device__ __forceinline__ int64_t floor_divide(int64_t numerator, int64_t denominator) {
  const int64_t quotient = numerator / denominator;
  return quotient - (numerator % denominator < 0);
}

// positions[a] = <row, projection axis + a>, the part of the lanes from `first` on. They and their
// prefixes are within 2^28 by Cauchy-Schwarz; the parts of lanes too.
__device__ __forceinline__ void project(const BinTask& task, int64_t row, int64_t axis, int first,
                                        int step, int32_t (&positions)[axes_at_once]) {
  const int16_t* code = task.codes + row * task.d;
  for (int64_t j = first; j < task.d; j += step) {
    const int32_t value = code[j];
#pragma unroll
    for (int a = 0; a < axes_at_once; ++a) {
      if (axis + a < task.grid.axes) {
        positions[a] += value * task.grid.projections[(axis + a) * task.d + j];
      }
    }
  }
}

// The positions of the lane's own row: of each warp's 32, from `first` on. Its lanes project one
// row after the other together, or each its own.
__device__ __forceinline__ void own_positions(const BinTask& task, int64_t first, int64_t end,
                                              int64_t axis, int32_t (&positions)[axes_at_once]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (task.d <= few_features) {
    if (first + lane < end) project(task, first + lane, axis, 0, 1, positions);
    return;
  }
  for (int r = 0; r < 32 && first + r < end; ++r) {
    int32_t found[axes_at_once] = {};
    project(task, first + r, axis, lane, 32, found);
#pragma unroll
    for (int a = 0; a < axes_at_once; ++a) {
      const int32_t position = group_sum<32>(found[a]);
      if (lane == r) positions[a] = position;
    }
  }
}

__device__ __forceinline__ int64_t class_of(const BinTask& task, int64_t row) {
  int64_t low = 0, high = task.classes;  // the last class that starts at or before the row
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (task.offsets[middle] <= row ? low : high) = middle;
  }
  return low;
}

// The bin of the lane's own row, counted over all classes; -1 past the end.
__device__ __forceinline__ long long own_bin(const BinTask& task, int64_t first, int64_t end) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int64_t bin = 0;
  for (int64_t axis = 0; axis < task.grid.axes; axis += axes_at_once) {
    int32_t positions[axes_at_once] = {};
    own_positions(task, first, end, axis, positions);
#pragma unroll
    for (int a = 0; a < axes_at_once; ++a) {
      if (axis + a >= task.grid.axes) break;
      const int64_t from_origin = positions[a] - task.grid.origins[axis + a];
      const int64_t cell = floor_divide(from_origin, task.grid.widths[axis + a]);
      const int64_t cells = task.grid.cells[axis + a];
      bin = bin * cells + (cell < 0 ? 0 : cell >= cells ? cells - 1 : cell);
    }
  }
  return first + lane < end ? class_of(task, first + lane) * task.size + bin : -1;
}

// Rows begin .. end, all of them in classes, 32 a warp at a time.
template <bool in_shared>
__global__ void __launch_bounds__(block_threads)
    count_bins(BinTask task, int64_t begin, int64_t end, unsigned long long* counts) {
  int32_t* own = dynamic_shared<int32_t>();
  const auto bins = static_cast<int>(task.classes * task.size);
  if constexpr (in_shared) {
    for (int bin = threadIdx.x; bin < bins; bin += block_threads) own[bin] = 0;
    __syncthreads();
  }
  const int64_t warp = int64_t{blockIdx.x} * block_warps + threadIdx.x / 32;
  const int64_t step = int64_t{gridDim.x} * block_threads;
  for (int64_t first = begin + warp * 32; first < end; first += step) {
    const long long bin = own_bin(task, first, end);
    if constexpr (in_shared) {
      if (bin >= 0) atomicAdd(own + bin, 1);
    } else {
      add_one(counts, bin);
    }
  }
  if constexpr (in_shared) {
    __syncthreads();
    for (int bin = threadIdx.x; bin < bins; bin += block_threads) {
      if (own[bin]) atomicAdd(counts + bin, static_cast<unsigned long long>(own[bin]));
    }
  }
}

}  // namespace

void bins(const int16_t* codes, int64_t, int64_t d, Grid grid, const int64_t* offsets,
          int64_t classes, int64_t* counts, Execution execution) {
  int64_t size = 1;
  for (int64_t axis = 0; axis < grid.axes; ++axis) size *= grid.cells[axis];
  const auto projections = uploaded(grid.projections, grid.axes * d, execution);
  const auto origins = uploaded(grid.origins, grid.axes, execution);
  const auto widths = uploaded(grid.widths, grid.axes, execution);
  const auto cells = uploaded(grid.cells, grid.axes, execution);
  const auto ends = uploaded(offsets, classes + 1, execution);
  const Scratch<unsigned long long> totals(classes * size, stream_of(execution));
  totals.clear();
  const BinTask task{codes,
                     d,
                     {projections.data(), origins.data(), widths.data(), cells.data(), grid.axes},
                     ends.data(),
                     classes,
                     size};
  const bool in_shared = classes * size <= most_shared_bins;
  const size_t shared_bytes = in_shared ? static_cast<size_t>(classes * size) * sizeof(int32_t) : 0;
  const int64_t most_blocks = 8 * device_limits().processors;
  const int64_t step = divide_up(int64_t{1} << 32, d);  // some milliseconds
  Pace pace(execution);
  for (int64_t first = offsets[0]; first < offsets[classes]; first += step) {
    const int64_t end = std::min(first + step, offsets[classes]);
    const Grid3 blocks{std::min(divide_up(end - first, block_threads), most_blocks)};
    launch(in_shared ? count_bins<true> : count_bins<false>, blocks, block_threads, shared_bytes,
           execution, task, first, end, totals.data());
    pace.step();
  }
  add_to_host(counts, totals, execution);
}

}  // namespace cloister
