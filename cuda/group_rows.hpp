// Rows gathered by a key, so that what is summed by key is summed in registers.
#pragma once

#include "runtime.hpp"

namespace cloister {

// Longer data sets come in parts: the order of one, written here and there, is a few times the
// cache.
inline int64_t most_grouped_rows() {
  return std::clamp(device_limits().cache_bytes, int64_t{1} << 10, int64_t{1} << 25);
}

// On the device: the rows of `key` are order[ends[key] - counts[key]] .. order[ends[key] - 1]. The
// ranges of the keys fill order[0] .. order[*used - 1], one after the other in no certain order.
struct RowGroups {
  const int32_t* order;
  const int32_t* counts;
  const int32_t* ends;
  const int32_t* used;
};

// A counting sort. Its scratch: 4 bytes for each row of a part, 8 for each key.
class RowGrouping {
 public:
  RowGrouping(int64_t n, int64_t keys, const Execution& execution);

  // Rows with the key -1 are left out. Queued, not waited for; what an earlier call gave ends.
  RowGroups group(const int32_t* row_keys, int64_t n, const Execution& execution);
  RowGroups groups() const { return {order_.data(), counts_.data(), ends_.data(), used_.data()}; }

  // Wait for the stream.
  std::vector<int32_t> counts(const Execution& execution) const {
    return counts_.download(execution);
  }
  std::vector<int32_t> ends(const Execution& execution) const { return ends_.download(execution); }

 private:
  Scratch<int32_t> order_, counts_, ends_, used_;
};

}  // namespace cloister
