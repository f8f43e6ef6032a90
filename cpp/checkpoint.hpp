// How a loop over many centres notices that it should stop.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace cloister {

// What one thread of a parallel_for tells of its progress, within a chunk that may take seconds.
// The calling thread asks whether a signal has come, but seldom: that takes the GIL. The others
// look whether the work has been stopped. Both do so by throwing Interrupted, so that no loop has
// to finish half of its work.
class Checkpoint {
 public:
  // interrupted: null but on the calling thread.
  Checkpoint(const std::atomic<bool>& stopped, bool (*interrupted)());

  // So many products are done since the last call; some more are of no account.
  [[gnu::always_inline]] inline void pass(int64_t products) {
    left_ -= products;
    if (left_ < 0) [[unlikely]]
      look();
  }

  void ask();  // however short ago that was done last

  static constexpr std::chrono::milliseconds between_questions{20};

 private:
  // A fraction of a millisecond with vector instructions, some milliseconds without.
  static constexpr int64_t products_between_looks = int64_t{1} << 22;
  void look();

  const std::atomic<bool>& stopped_;
  bool (*interrupted_)();
  int64_t left_ = products_between_looks;
  std::chrono::steady_clock::time_point asked_;
};

}  // namespace cloister
