// The nearest centre of each row by the distances that define it.
#pragma once

#include "runtime.hpp"

namespace cloister {

// The bits of D(x, c_j), high, and j: the least key is the nearest centre, of equally near ones the
// first. A distance is not negative, so that its bits are in its order.
using NearestKey = unsigned long long;

// Rows and centres on the device; shift is not null.
struct NearestRows {
  const float* rows;
  int64_t n, d;
  const float* shift;
  const float* centres;
  int64_t k;
};

// A kernel's candidates for the nearest centre of each row, one of which it is: the first
// counts[i] of lists[i * capacity] on. More than fit: any centre may be nearest.
struct CandidateLists {
  const int32_t* lists;
  const int32_t* counts;
  int64_t capacity;
};

// keys[i] = the key of row i's nearest centre, by all distances.
void scan_centres(const NearestRows& task, NearestKey* keys, const Execution& execution);

// The same by the distances to candidates; with only one, the high half of the key means nothing.
void decide_candidates(const NearestRows& task, const CandidateLists& candidates, NearestKey* keys,
                       const Execution& execution);

}  // namespace cloister
