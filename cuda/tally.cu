#include "cells.hpp"
#include "group_rows.hpp"
#include "row_sums.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256;

__global__ void add_counts(const int32_t* counts, int64_t cells, unsigned long long* totals) {
  const int64_t cell = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (cell < cells) totals[cell] += static_cast<unsigned long long>(counts[cell]);
}

// The number of a cell within its class; rows outside all classes keep what they had.
__global__ void write_labels(const int32_t* cells, int64_t n, int32_t k, int32_t* labels) {
  const int64_t row = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (row < n && cells[row] >= 0) labels[row] = cells[row] % k;
}

}  // namespace

void tally(const int16_t* codes, int64_t n, int64_t d, Partition partition, Clip clip,
           int64_t* counts, int64_t* sums, int32_t* labels, Execution execution) {
  const cudaStream_t stream = stream_of(execution);
  const int64_t all_cells = partition.classes * partition.k;
  const Scratch<int32_t> cells(n, stream);
  assign_cells(codes, n, d, partition, cells.data(), execution);
  if (labels) {
    launch(write_labels, {divide_up(n, block_threads)}, block_threads, 0, execution, cells.data(),
           n, partition.k, labels);
  }
  const bool clips = clip.bound > 0;
  const auto centres = uploaded(clips ? partition.centres : nullptr, all_cells * d, execution);
  const Scratch<unsigned long long> all_counts(all_cells, stream), all_sums(all_cells * d, stream);
  all_counts.clear();
  all_sums.clear();
  RowGrouping grouping(n, all_cells, execution);
  Pace pace(execution);
  const int64_t part = most_grouped_rows();
  for (int64_t first = 0; first < n; first += part) {
    const int64_t count = std::min(part, n - first);
    const int32_t* own_cells = cells.data() + first;
    const RowGroups groups = grouping.group(own_cells, count, execution);
    launch(add_counts, {divide_up(all_cells, block_threads)}, block_threads, 0, execution,
           groups.counts, all_cells, all_counts.data());
    const RowSums task{codes + first * d, d, centres.data(), clip, nullptr, Summed::values,
                       all_sums.data()};
    add_row_sums(task, own_cells, count, groups, execution);
    pace.step();
  }
  add_to_host(counts, all_counts, execution);
  add_to_host(sums, all_sums, execution);
}

}  // namespace cloister
