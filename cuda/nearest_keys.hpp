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

// Rows that lists leave open, on the device: any centre may be their nearest.
struct OpenRows {
  Scratch<int32_t> rows, count;
  OpenRows(int64_t n, const Execution& execution)
      : rows(n, stream_of(execution)), count(1, stream_of(execution)) {
    count.clear();
  }
};

// The same by the distances to what the lists of a screen leave, for the rows first .. first +
// count, which the lists begin with; with only one centre left, the high half of a key means
// nothing. Rows whose list is not complete are added to `open`. Queued, not waited for.
void decide_by_lists(const NearestRows& task, int64_t first, int64_t count,
                     const CandidateLists& lists, NearestKey* keys, const OpenRows& open,
                     const Execution& execution);

// And by all distances for open rows.
void scan_open_rows(const NearestRows& task, const OpenRows& open, NearestKey* keys,
                    const Execution& execution);

}  // namespace cloister
