#include <limits>
#include <vector>

#include "parallel.hpp"
#include "targets.hpp"

namespace cloister {

bool column_ranges(const float* rows, int64_t n, int64_t d, double* sums, float* lowest,
                   float* highest, Execution execution) {
  const int64_t slots = std::max<int64_t>(1, execution.threads);
  std::vector<float> ends(static_cast<size_t>(2 * slots * d), std::numeric_limits<float>::max());
  for (int64_t slot = 0; slot < slots; ++slot) {
    const auto end = ends.begin() + (2 * slot + 1) * d;
    std::fill(end, end + d, std::numeric_limits<float>::lowest());
  }
  std::atomic<bool> is_finite{true};
  parallel_for(n, range_rows, execution, [&](int64_t begin, int64_t end, int64_t slot) {
    float* mine = ends.data() + 2 * slot * d;
    if (!targets().add_ranges(rows + begin * d, end - begin, d, sums + begin / range_rows * d, mine,
                              mine + d)) {
      is_finite = false;
    }
  });
  for (int64_t t = 0; t < d; ++t) {
    lowest[t] = ends[static_cast<size_t>(t)];
    highest[t] = ends[static_cast<size_t>(d + t)];
    for (int64_t slot = 1; slot < slots; ++slot) {
      const float* other = ends.data() + 2 * slot * d;
      lowest[t] = std::min(lowest[t], other[t]);
      highest[t] = std::max(highest[t], other[d + t]);
    }
  }
  return is_finite;
}

}  // namespace cloister
