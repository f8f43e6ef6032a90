// Cooperative threads for the emulated device: one block's threads take turns on one host thread.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace emulated {

// In which order the threads of a block run between two barriers. A kernel whose results depend on
// it has a race.
enum class Order { forward, reverse, shuffled };

// Runs body(0) .. body(count - 1) as fibers until all have returned; calls turn(i) whenever fiber i
// takes its turn.
class Fibers {
 public:
  static void run(int count, Order order, const std::function<void(int)>& turn,
                  const std::function<void(int)>& body);
  // Of the running fiber: lets others go on until `ready()`.
  static void wait(const std::function<bool()>& ready);
  static int self();
};

}  // namespace emulated
