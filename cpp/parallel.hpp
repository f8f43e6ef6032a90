// Work sharing over std::thread. No OpenMP: its runtime clashes with torch's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels.hpp"

namespace cloister {

// Rounding to nearest and no flushing of subnormals, whatever the caller's thread had set: results
// are specified bit by bit.
class DefaultFloatMode {
 public:
  DefaultFloatMode() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatMode() { std::fesetenv(&saved_); }
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;

 private:
  std::fenv_t saved_;
};

// How many threads share `total` items in chunks, if each needs a table of this many bytes: all
// tables together stay within a gigabyte, but for a single one that is larger.
inline int64_t threads_with_tables(const Execution& execution, int64_t total, int64_t chunk,
                                   int64_t table_bytes) {
  const int64_t chunks = (total + chunk - 1) / chunk;
  const int64_t fitting = (int64_t{1} << 30) / std::max<int64_t>(1, table_bytes);
  return std::max<int64_t>(1, std::min({execution.threads, chunks, fitting}));
}

// Calls work(begin, end, slot) over [0, total) in chunks; slot < threads names the thread, for
// private scratch. The calling thread works too and polls for interruption between its chunks, so
// a chunk should take well below 50 ms. Which thread takes which chunk varies: results must not
// depend on it. The first exception stops all workers and is thrown again here.
template <class Work>
void parallel_for(int64_t total, int64_t chunk, const Execution& execution, Work&& work) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex failure_lock;

  auto run = [&](int64_t slot) noexcept {
    const DefaultFloatMode mode;
    try {
      while (!stop.load(std::memory_order_relaxed)) {
        const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= total) return;
        work(begin, std::min(begin + chunk, total), slot);
        if (slot == 0 && execution.interrupted && execution.interrupted()) throw Interrupted();
      }
    } catch (...) {
      const std::lock_guard<std::mutex> guard(failure_lock);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  };

  const int64_t chunks = (total + chunk - 1) / chunk;
  const int64_t helpers = std::max<int64_t>(0, std::min(execution.threads, chunks) - 1);
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(helpers));
  try {
    for (int64_t slot = 1; slot <= helpers; ++slot) threads.emplace_back(run, slot);
  } catch (...) {
    // No more threads, or no memory for one: the chunks are shared among those there are. Leaving
    // here would destroy running threads, which ends the process.
  }
  run(0);  // returns once no chunk is left, or to be interrupted: at most one chunk a thread to go
  for (auto& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace cloister
