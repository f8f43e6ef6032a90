// Work sharing over std::thread. No OpenMP: its runtime clashes with torch's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "checkpoint.hpp"
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
// private scratch. The calling thread works too and asks for signals between its chunks: one that
// can take more than 50 ms is to pass the thread's checkpoint on the way, for which work has a
// fourth parameter. Which thread takes which chunk varies: results must not depend on it. The first
// exception stops all workers and is thrown again here.
template <class Work>
void parallel_for(int64_t total, int64_t chunk, const Execution& execution, Work&& work) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  size_t finished = 0;
  std::mutex lock;  // of those two
  std::condition_variable one_more_finished;

  auto guarded = [&](auto&& body) noexcept {
    try {
      body();
    } catch (...) {
      const std::lock_guard<std::mutex> guard(lock);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  };
  auto run = [&](int64_t slot, Checkpoint& checkpoint) {
    const DefaultFloatMode mode;
    guarded([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= total) return;
        const int64_t end = std::min(begin + chunk, total);
        if constexpr (std::is_invocable_v<Work, int64_t, int64_t, int64_t, Checkpoint&>) {
          work(begin, end, slot, checkpoint);
        } else {
          work(begin, end, slot);
        }
        checkpoint.ask();
      }
    });
  };
  auto help = [&](int64_t slot) noexcept {
    Checkpoint checkpoint(stop, nullptr);
    run(slot, checkpoint);
    const std::lock_guard<std::mutex> guard(lock);
    ++finished;
    one_more_finished.notify_one();
  };
  auto helpers_finish = [&](size_t helpers) {
    std::unique_lock<std::mutex> guard(lock);
    return one_more_finished.wait_for(guard, Checkpoint::between_questions,
                                      [&] { return finished == helpers; });
  };

  const int64_t chunks = (total + chunk - 1) / chunk;
  const int64_t helpers = std::max<int64_t>(0, std::min(execution.threads, chunks) - 1);
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(helpers));
  try {
    for (int64_t slot = 1; slot <= helpers; ++slot) threads.emplace_back(help, slot);
  } catch (...) {
    // No more threads, or no memory for one: the chunks are shared among those there are. Leaving
    // here would destroy running threads, which ends the process.
  }
  Checkpoint checkpoint(stop, execution.interrupted);
  run(0, checkpoint);
  // No chunk is left, but those that the others are at may take seconds.
  guarded([&] {
    while (!helpers_finish(threads.size())) {
      if (!stop) checkpoint.ask();
    }
  });
  for (auto& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace cloister
