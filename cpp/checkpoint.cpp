#include "checkpoint.hpp"

#include "kernels.hpp"

namespace cloister {

Checkpoint::Checkpoint(const std::atomic<bool>& stopped, bool (*interrupted)())
    : stopped_(stopped), interrupted_(interrupted), asked_(std::chrono::steady_clock::now()) {}

void Checkpoint::ask() {
  if (stopped_.load(std::memory_order_relaxed)) throw Interrupted();
  if (interrupted_ && interrupted_()) throw Interrupted();
  asked_ = std::chrono::steady_clock::now();
}

void Checkpoint::look() {
  left_ = products_between_looks;
  if (stopped_.load(std::memory_order_relaxed)) throw Interrupted();
  if (interrupted_ && std::chrono::steady_clock::now() - asked_ >= between_questions) ask();
}

}  // namespace cloister
