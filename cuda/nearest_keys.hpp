// The nearest centre of each row by the distances that define it.
#pragma once

#include "screen.hpp"

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

// keys[i] = the key of row i's nearest centre, by all distances.
void scan_centres(const NearestRows& task, NearestKey* keys, const Execution& execution);

// Rows that no list has decided, any number of them.
struct UndecidedRows {
  Scratch<int32_t> rows, count;
  UndecidedRows(int64_t n, const Execution& execution);
};

// The same for the rows first .. first + count, by the distances to the candidates of their lists;
// where there is only one, the high half of the key means nothing. Queued, not waited for.
void decide_candidates(const NearestRows& task, int64_t first, int64_t count,
                       const CandidateLists& lists, NearestKey* keys,
                       const UndecidedRows& undecided, const Execution& execution);

// The same for the rows that are left.
void scan_undecided(const NearestRows& task, const UndecidedRows& undecided, NearestKey* keys,
                    const Execution& execution);

}  // namespace cloister
