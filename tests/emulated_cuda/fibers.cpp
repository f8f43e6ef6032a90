#include "fibers.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

// Saves the callee's registers on one stack and takes up those of another (System V, x86-64).
extern "C" void switch_stack(void** from, void* to);
asm(R"(
.text
.globl switch_stack
.type switch_stack, @function
switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size switch_stack, .-switch_stack
)");

namespace emulated {
namespace {

constexpr size_t stack_bytes = 256 << 10;

struct Fiber {
  void* stack = nullptr;  // where it left off
  bool is_done = false;
  const std::function<bool()>* ready = nullptr;  // what it waits for; null: nothing
};

struct Scheduler {
  std::vector<Fiber> fibers;
  void* own_stack = nullptr;
  const std::function<void(int)>* body = nullptr;
  int self = -1;
};

Scheduler scheduler;
std::vector<char*> stacks;  // kept from launch to launch

void enter() {
  const int self = scheduler.self;
  (*scheduler.body)(self);
  scheduler.fibers[size_t(self)].is_done = true;
  switch_stack(&scheduler.fibers[size_t(self)].stack, scheduler.own_stack);
}

char* stack_of(int fiber) {
  while (stacks.size() <= size_t(fiber)) {
    void* memory = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    mprotect(memory, 4096, PROT_NONE);  // an overflow is a fault
    stacks.push_back(static_cast<char*>(memory));
  }
  return stacks[size_t(fiber)];
}

void prepare(Fiber& fiber, int number) {
  auto* top = reinterpret_cast<std::uintptr_t*>(stack_of(number) + stack_bytes);
  *--top = 0;  // the stack is 8 bytes off 16 where a function starts
  *--top = reinterpret_cast<std::uintptr_t>(&enter);
  for (int saved = 0; saved < 6; ++saved) *--top = 0;
  fiber.stack = top;
}

}  // namespace

int Fibers::self() { return scheduler.self; }

void Fibers::wait(const std::function<bool()>& ready) {
  if (ready()) return;
  Fiber& fiber = scheduler.fibers[size_t(scheduler.self)];
  fiber.ready = &ready;
  switch_stack(&fiber.stack, scheduler.own_stack);
}

void Fibers::run(int count, Order order, const std::function<void(int)>& turn,
                 const std::function<void(int)>& body) {
  scheduler.fibers.assign(size_t(count), Fiber{});
  scheduler.body = &body;
  std::vector<int> turns;
  for (int i = 0; i < count; ++i) {
    prepare(scheduler.fibers[size_t(i)], i);
    turns.push_back(i);
  }
  if (order == Order::reverse) std::reverse(turns.begin(), turns.end());
  static std::mt19937 generator;
  int left = count;
  while (left > 0) {
    if (order == Order::shuffled) std::shuffle(turns.begin(), turns.end(), generator);
    bool moved = false;
    for (const int i : turns) {
      Fiber& fiber = scheduler.fibers[size_t(i)];
      if (fiber.is_done || (fiber.ready && !(*fiber.ready)())) continue;
      fiber.ready = nullptr;
      scheduler.self = i;
      turn(i);
      switch_stack(&scheduler.own_stack, fiber.stack);
      left -= fiber.is_done;
      moved = true;
    }
    if (!moved) {
      std::fprintf(stderr, "emulated device: deadlock, %d threads wait for ever\n", left);
      std::abort();
    }
  }
  scheduler.self = -1;
}

}  // namespace emulated
