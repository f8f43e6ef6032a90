// Exact sums of the rows of each cluster, kept up to date as rows move.
#pragma once

#include "runtime.hpp"

namespace cloister {

// All arrays are the device's; see `nearest` in kernels.hpp.
struct ClusterRows {
  const float* rows;
  int64_t n, d;
  const float* shift;     // not null
  const double* weights;  // or null
  int64_t k;
  double sum_scale, count_scale;
};

// Either may be empty. Integers modulo 2^64.
struct ClusterTables {
  const Scratch<unsigned long long>& sums;    // (k, d)
  const Scratch<unsigned long long>& counts;  // (k,)
};

// Adds the rows whose label is not the previous one (null: all rows) to their cluster, and takes
// them off the cluster of their previous label. Returns how many those are.
int64_t add_moved_rows(const ClusterRows& task, const int32_t* labels, const int32_t* previous,
                       const ClusterTables& tables, const Execution& execution);

}  // namespace cloister
