// A way for tests to hand lists of candidates to decide_candidates, whatever makes them otherwise.
#include "../../cuda/nearest_keys.hpp"

extern "C" void decide_candidates(const float* rows, int64_t n, int64_t d, const float* shift,
                                  const float* centres, int64_t k, int64_t chunk,
                                  cloister::Candidate* entries, int32_t* counts, float* limits,
                                  cloister::NearestKey* keys) {
  const cloister::Execution execution{1, 0, nullptr};
  const cloister::NearestRows task{rows, n, d, shift, centres, k};
  const cloister::UndecidedRows undecided(n, execution);
  for (int64_t first = 0; first < n; first += chunk) {
    const cloister::CandidateLists lists{entries + first * cloister::list_capacity, counts + first,
                                         limits + first};
    decide_candidates(task, first, std::min(chunk, n - first), lists, keys, undecided, execution);
  }
  scan_undecided(task, undecided, keys, execution);
  cloister::wait(execution);
}
