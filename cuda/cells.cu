#include "cells.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 128;

// The definition, one thread a row: slow, and the oracle of every faster way.
__global__ void find_cells(const int16_t* codes, int64_t n, int64_t d, const int16_t* centres,
                           int64_t k, const int64_t* offsets, int64_t classes, int32_t* cells) {
  const int64_t row = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (row >= n) return;
  if (row < offsets[0] || row >= offsets[classes]) {
    cells[row] = -1;
    return;
  }
  int64_t low = 0, high = classes;  // the last class that starts at or before the row
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (offsets[middle] <= row ? low : high) = middle;
  }
  const int16_t* code = codes + row * d;
  int32_t best = 0;
  int64_t best_cell = 0;
  for (int64_t j = 0; j < k; ++j) {
    const int16_t* centre = centres + (low * k + j) * d;
    int32_t score = 0;
    for (int64_t t = 0; t < d; ++t) score += centre[t] * (centre[t] - 2 * code[t]);
    if (j == 0 || score < best) {
      best = score;
      best_cell = j;
    }
  }
  cells[row] = static_cast<int32_t>(low * k + best_cell);
}

}  // namespace

void assign_cells(const int16_t* codes, int64_t n, int64_t d, const Partition& partition,
                  int32_t* cells, const Execution& execution) {
  const int64_t all_centres = partition.classes * partition.k;
  const auto centres = uploaded(partition.centres, all_centres * d, execution);
  const auto offsets = uploaded(partition.offsets, partition.classes + 1, execution);
  launch(find_cells, {divide_up(n, block_threads)}, block_threads, 0, execution, codes, n, d,
         centres.data(), partition.k, offsets.data(), partition.classes, cells);
  wait(execution);
}

}  // namespace cloister
