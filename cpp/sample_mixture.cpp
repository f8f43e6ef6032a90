#include <algorithm>
#include <numeric>
#include <vector>

#include "parallel.hpp"
#include "targets.hpp"

namespace cloister {
namespace {

// Large enough that packing the factors of a covariance costs little beside using them, small
// enough to stay well below 50 ms. In the generic target a fused multiply-add is a function call.
int64_t rows_in_chunk(int64_t d, int64_t rank) {
  const bool generic = &targets() == &generic_targets;
  const int64_t operations = int64_t{1} << (generic ? 22 : 26);
  return std::clamp<int64_t>(operations / (d * (rank + 16)), generic ? 4 : 64, 4096);
}

// The rows, those of one covariance together and in order: a counting sort. Blocks of rows that
// share their factors are what makes the products fast; no row depends on its company.
std::vector<int64_t> rows_by_covariance(int64_t n, const Mixture& mixture,
                                        const int32_t* components) {
  std::vector<int64_t> next(1, 0);  // where the next row of each covariance goes
  for (int64_t i = 0; i < n; ++i) {
    const auto after = static_cast<size_t>(mixture.covariance_of[components[i]]) + 1;
    if (after >= next.size()) next.resize(after + 1, 0);
    next[after] += 1;
  }
  std::partial_sum(next.begin(), next.end(), next.begin());
  std::vector<int64_t> rows(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const auto covariance = static_cast<size_t>(mixture.covariance_of[components[i]]);
    rows[static_cast<size_t>(next[covariance]++)] = i;
  }
  return rows;
}

}  // namespace

void sample_mixture(uint64_t seed, int64_t first_row, int64_t n, int64_t d, Mixture mixture,
                    const int32_t* components, float* out, Execution execution) {
  const SampleTask task{seed, first_row, d, mixture, components};
  const std::vector<int64_t> rows = rows_by_covariance(n, mixture, components);
  const auto before = [&](int64_t a, int64_t b) {
    return mixture.covariance_of[components[a]] < mixture.covariance_of[components[b]];
  };
  const int64_t chunk = rows_in_chunk(d, mixture.rank);
  parallel_for(n, chunk, execution, [&](int64_t begin, int64_t end, int64_t) {
    const int64_t* const last = rows.data() + end;
    for (const int64_t* run = rows.data() + begin; run != last;) {
      const int64_t* const next = std::upper_bound(run, last, *run, before);
      targets().sample_rows(task, run, next - run, out);
      run = next;
    }
  });
}

}  // namespace cloister
