#include "cells.hpp"

namespace cloister {

void tally(const int16_t* codes, int64_t n, int64_t d, Partition partition, Clip clip,
           int64_t* counts, int64_t* sums, int32_t* labels, Execution execution) {
  Scratch<int32_t> cells(n, stream_of(execution));
  assign_cells(codes, n, d, partition, cells.data(), execution);
  throw DeviceError("tally");
}

}  // namespace cloister
