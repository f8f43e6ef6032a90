// Blocks and warps of the emulated device.
#include <cfenv>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "cuda_runtime.h"
#include "fibers.hpp"
#include "memory.hpp"

namespace emulated {
namespace {

struct Copy {
  void* to;
  const void* from;
  int bytes, source_bytes;
};

struct CopyQueue {  // of one thread
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

struct Block {
  uint64_t generation = 0;
  int live = 0, arrived = 0;
  void* shared = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<CopyQueue> copies;

  void release_if_complete() {
    if (live > 0 && arrived == live) {
      ++generation;
      arrived = 0;
    }
  }
};

Block block;

Order chosen_order() {
  const char* name = std::getenv("CLOISTER_EMULATED_ORDER");
  if (!name) return Order::forward;
  return name[0] == 'r' ? Order::reverse : name[0] == 's' ? Order::shuffled : Order::forward;
}

void prepare_threads() {
  const int count = int(blockDim.x * blockDim.y * blockDim.z);
  block.live = count;
  block.arrived = 0;
  block.threads.resize(size_t(count));
  block.copies.assign(size_t(count), {});
  block.warps.assign(size_t((count + 31) / 32), {});
  for (int i = 0; i < count; ++i) {
    const auto n = unsigned(i);
    block.threads[size_t(i)] = {
        {n % blockDim.x, n / blockDim.x % blockDim.y, n / (blockDim.x * blockDim.y)}, i};
    ++block.warps[size_t(i) / 32].lanes;
  }
}

void perform(const std::vector<Copy>& copies) {
  for (const Copy& copy : copies) {
    std::memcpy(copy.to, copy.from, size_t(copy.source_bytes));
    std::memset(static_cast<char*>(copy.to) + copy.source_bytes, 0,
                size_t(copy.bytes - copy.source_bytes));
  }
}

CopyQueue& own_copies() { return block.copies[size_t(Fibers::self())]; }

}  // namespace

const Thread& thread() { return block.threads[size_t(Fibers::self())]; }
Warp& warp() { return block.warps[size_t(Fibers::self()) / 32]; }
void* dynamic_shared() { return block.shared; }

void block_barrier() {
  const uint64_t mine = block.generation;
  ++block.arrived;
  block.release_if_complete();
  Fibers::wait([mine] { return block.generation != mine; });
}

uint64_t warp_arrive() {
  Warp& own = warp();
  const uint64_t mine = own.generation;
  if (++own.arrived == own.lanes) {
    ++own.generation;
    own.arrived = 0;
  }
  Fibers::wait([&own, mine] { return own.generation != mine; });
  return mine;
}

void copy_later(void* to, const void* from, int bytes, int source_bytes) {
  own_copies().open.push_back({to, from, bytes, source_bytes});
}

void commit_copies() {
  CopyQueue& own = own_copies();
  own.groups.push_back(std::move(own.open));
  own.open.clear();
}

void wait_for_copies(int groups_left) {
  CopyQueue& own = own_copies();
  while (int(own.groups.size()) > groups_left) {
    perform(own.groups.front());
    own.groups.pop_front();
  }
}

void run_grid(dim3 grid, dim3 size, size_t shared_bytes, const std::function<void()>& thread) {
  GuardedMemory shared(shared_bytes);
  gridDim = grid;
  blockDim = size;
  block.shared = shared.data();
  const Order order = chosen_order();
  std::fenv_t callers;  // which a device knows nothing of
  std::fegetenv(&callers);
  std::fesetenv(FE_DFL_ENV);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        std::memset(block.shared, 0xA5, shared_bytes);
        prepare_threads();
        const auto turn = [](int i) { threadIdx = block.threads[size_t(i)].index; };
        Fibers::run(int(block.threads.size()), order, turn, [&](int) {
          thread();
          --block.live;  // those who wait do not wait for a thread that has returned
          block.release_if_complete();
        });
      }
    }
  }
  std::fesetenv(&callers);
}

void load_matrices(uint32_t* out, int count, const void* row) {
  const auto rows = exchange(row);
  const int lane = thread().number % 32;
  for (int matrix = 0; matrix < count; ++matrix) {
    const auto* bytes = static_cast<const unsigned char*>(rows[8 * matrix + lane / 4]);
    if (reinterpret_cast<std::uintptr_t>(bytes) % 16) std::abort();
    std::memcpy(out + matrix, bytes + 4 * (lane % 4), 4);
  }
  __syncwarp();  // no lane overwrites what another still reads
}

namespace {

struct Fragments {
  uint32_t a[4], b[2];
};

// Sums over 32 bytes of k. Element (row, byte) of a lies in register 2 * (byte / 16) + row / 8 of
// lane 4 * (row % 8) + byte % 16 / 4; element (column, byte) of b in register byte / 16 of lane
// 4 * column + byte % 16 / 4; sums[i] is of row lane / 4 + 8 * (i / 2), column 2 * (lane % 4) + i %
// 2.
template <class Sum, class AddWords>
void multiply(Sum (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], AddWords&& add) {
  Fragments own;
  std::memcpy(own.a, a, sizeof a);
  std::memcpy(own.b, b, sizeof b);
  const auto all = exchange(own);
  const int lane = thread().number % 32;
  for (int i = 0; i < 4; ++i) {
    const int half = i / 2, column = 2 * (lane % 4) + i % 2;
    for (int word = 0; word < 8; ++word) {
      const Fragments left = all[4 * (lane / 4) + word % 4], right = all[4 * column + word % 4];
      sums[i] = add(sums[i], left.a[2 * (word / 4) + half], right.b[word / 4]);
    }
  }
}

float half_at(uint32_t word, int half) {
  return float(std::bit_cast<_Float16>(uint16_t(word >> (16 * half))));
}

}  // namespace

void multiply_int8(int32_t (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply(sums, a, b,
           [](int32_t sum, uint32_t x, uint32_t y) { return __dp4a(int(x), int(y), sum); });
}

// Cuts the sum off where a processor would round it, as tensor cores do.
float cut_sum(float sum, double product) {
  const double exact = sum + product;
  const float near = float(exact);
  return std::abs(double(near)) > std::abs(exact) ? std::nextafterf(near, 0.0f) : near;
}

void multiply_float16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply(sums, a, b, [](float sum, uint32_t x, uint32_t y) {
    for (int half = 0; half < 2; ++half) {
      sum = cut_sum(sum, double(half_at(x, half)) * double(half_at(y, half)));
    }
    return sum;
  });
}

}  // namespace emulated

namespace {

std::mutex allowed_lock;
std::map<const void*, size_t> allowed_shared;  // by kernel

}  // namespace

cudaError_t allow_dynamic_shared(const void* kernel, int bytes) {
  const std::lock_guard guard(allowed_lock);
  int most = 0;
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  if (bytes > most) return cudaErrorInvalidValue;
  allowed_shared[kernel] = static_cast<size_t>(bytes);
  return cudaSuccess;
}
bool may_have_dynamic_shared(const void* kernel, size_t bytes) {
  const std::lock_guard guard(allowed_lock);
  const auto found = allowed_shared.find(kernel);
  return bytes <= (48 << 10) || (found != allowed_shared.end() && bytes <= found->second);
}
