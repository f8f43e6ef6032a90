#include "cells.hpp"

namespace cloister {

void tally(const int16_t* codes, int64_t n, int64_t d, Partition partition, Clip,
           int64_t*, int64_t*, int32_t* labels, Execution execution) {
  assign_cells(codes, n, d, partition, labels, execution);
  std::vector<int32_t> cells(static_cast<size_t>(n));
  wait(execution);
  check(cudaMemcpy(cells.data(), labels, static_cast<size_t>(n) * 4, cudaMemcpyDeviceToHost));
  for (int32_t& cell : cells) cell = cell < 0 ? cell : static_cast<int32_t>(cell % partition.k);
  check(cudaMemcpy(labels, cells.data(), static_cast<size_t>(n) * 4, cudaMemcpyHostToDevice));
}

}  // namespace cloister
