#include "cells.hpp"
#include "code_vectors.cuh"
#include "screen_cells.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 128, block_warps = block_threads / 32;

// The classes on the device, and which of their rows are not for the screen.
struct Classes {
  const int64_t* offsets;  // (count + 1,)
  int64_t count;
  const int16_t* centres;  // (count, k, d)
  int64_t k;
  int64_t fewest_screened;  // rows of a class that is screened
};
constexpr int64_t no_class = -1, is_screened = -2;

__device__ int64_t class_of(int64_t row, const Classes& classes) {
  if (row < classes.offsets[0] || row >= classes.offsets[classes.count]) return no_class;
  int64_t low = 0, high = classes.count;  // the last class that starts at or before the row
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (classes.offsets[middle] <= row ? low : high) = middle;
  }
  const int64_t rows = classes.offsets[low + 1] - classes.offsets[low];
  return rows >= classes.fewest_screened ? is_screened : low;
}

// The definition, one thread a row: for short rows, and the oracle of every faster way.
__global__ void find_cells(const int16_t* codes, int64_t first, int64_t n, int64_t d,
                           Classes classes, int32_t* cells) {
  const int64_t row = first + int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (row >= n) return;
  const int64_t group = class_of(row, classes);
  if (group == no_class) cells[row] = -1;
  if (group < 0) return;
  const int16_t* code = codes + row * d;
  int32_t best = 0;
  int64_t best_cell = 0;
  for (int64_t j = 0; classes.k > 1 && j < classes.k; ++j) {
    const int16_t* centre = classes.centres + (group * classes.k + j) * d;
    int32_t score = 0;
    for (int64_t t = 0; t < d; ++t) score += centre[t] * (centre[t] - 2 * code[t]);
    if (j == 0 || score < best) {
      best = score;
      best_cell = j;
    }
  }
  cells[row] = static_cast<int32_t>(group * classes.k + best_cell);
}

// The same, one warp a row.
__global__ void scan_cells(const int16_t* codes, int64_t first, int64_t n, int64_t d,
                           Classes classes, bool is_aligned, int32_t* cells) {
  const int64_t row = first + int64_t{blockIdx.x} * block_warps + threadIdx.x / 32;
  if (row >= n) return;  // all of a warp alike
  const int64_t group = class_of(row, classes);
  int32_t best = 0;
  int64_t best_cell = 0;
  for (int64_t j = 0; group >= 0 && j < classes.k; ++j) {
    const int32_t score =
        warp_score(codes + row * d, classes.centres + (group * classes.k + j) * d, d, is_aligned);
    if (j == 0 || score < best) {
      best = score;
      best_cell = j;
    }
  }
  if (threadIdx.x % 32 != 0 || group == is_screened) return;
  cells[row] = group == no_class ? -1 : static_cast<int32_t>(group * classes.k + best_cell);
}

// Rows that no screen takes, in steps of some milliseconds.
void assign_directly(const int16_t* codes, int64_t n, int64_t d, const Classes& classes,
                     int32_t* cells, const Execution& execution) {
  const bool is_wide = d >= 32 && classes.k > 1;
  const int64_t step = std::max<int64_t>(int64_t{1} << 12, (int64_t{1} << 35) / (d * classes.k));
  Pace pace(execution);
  for (int64_t first = 0; first < n; first += step) {
    const int64_t end = std::min(n, first + step);
    if (is_wide) {
      launch(scan_cells, {divide_up(end - first, block_warps)}, block_threads, 0, execution, codes,
             first, end, d, classes, codes_are_aligned(codes, d), cells);
    } else {
      launch(find_cells, {divide_up(end - first, block_threads)}, block_threads, 0, execution,
             codes, first, end, d, classes, cells);
    }
    pace.step();
  }
}

// By public shape alone.
struct Shares {
  bool screened = false;  // some rows go through the screen
  bool direct = false;    // and some do not
};

Shares shares_of(int64_t n, const Partition& partition, int64_t fewest_screened) {
  Shares out;
  out.direct = partition.offsets[0] > 0 || partition.offsets[partition.classes] < n;
  for (int64_t g = 0; g < partition.classes; ++g) {
    const int64_t rows = partition.offsets[g + 1] - partition.offsets[g];
    out.screened |= rows >= fewest_screened;
    out.direct |= rows > 0 && rows < fewest_screened;
  }
  return out;
}

}  // namespace

void assign_cells(const int16_t* codes, int64_t n, int64_t d, const Partition& partition,
                  int32_t* cells, const Execution& execution) {
  const auto centres = uploaded(partition.centres, partition.classes * partition.k * d, execution);
  const int64_t fewest =
      shape_is_screened(n, d, partition.k, partition.classes) ? fewest_screened_rows : INT64_MAX;
  const Shares shares = shares_of(n, partition, fewest);
  if (shares.screened) screen_cells(codes, n, d, partition, centres.data(), cells, execution);
  if (shares.direct) {
    const auto offsets = uploaded(partition.offsets, partition.classes + 1, execution);
    assign_directly(codes, n, d,
                    {offsets.data(), partition.classes, centres.data(), partition.k, fewest}, cells,
                    execution);
    wait(execution);
  }
}

}  // namespace cloister
