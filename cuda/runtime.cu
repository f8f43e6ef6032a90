#include <chrono>
#include <string>
#include <thread>

#include "runtime.hpp"

namespace cloister {
namespace {

constexpr std::chrono::milliseconds between_questions{20};

// Polls, for a call that blocks could not be interrupted: often at first, for short kernels.
template <class Query>
void poll(Query&& query, const Execution& execution) {
  auto asked = std::chrono::steady_clock::now();
  for (int64_t tries = 0;; ++tries) {
    const cudaError_t state = query();
    if (state != cudaErrorNotReady) {
      check(state);
      return;
    }
    if (tries > 200) std::this_thread::sleep_for(std::chrono::microseconds(20));
    const auto now = std::chrono::steady_clock::now();
    if (now - asked > between_questions) {
      if (execution.interrupted && execution.interrupted()) throw Interrupted();
      asked = now;
    }
  }
}

// Whether the device in use allocates in the order of streams; asked once a device and thread.
// Freed scratch then stays with the process: asking the driver for memory anew takes milliseconds.
bool has_memory_pool() {
  enum class Pool : char { unknown, none, kept };
  thread_local std::vector<Pool> pools;
  int device = 0;
  check(cudaGetDevice(&device));
  pools.resize(std::max(pools.size(), static_cast<size_t>(device) + 1), Pool::unknown);
  Pool& known = pools[static_cast<size_t>(device)];
  if (known == Pool::unknown) {
    int is_supported = 0;
    check(cudaDeviceGetAttribute(&is_supported, cudaDevAttrMemoryPoolsSupported, device));
    known = is_supported ? Pool::kept : Pool::none;
    if (is_supported) {
      cudaMemPool_t pool{};
      check(cudaDeviceGetDefaultMemPool(&pool, device));
      uint64_t kept = 0;  // other libraries may have asked for more
      check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept));
      kept = std::max(kept, uint64_t{1} << 30);
      check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept));
    }
  }
  return known == Pool::kept;
}

// Where a thread receives sums: page-locked, so that they come at the speed of the bus.
class Staging {
 public:
  static constexpr int64_t count = 1 << 19;
  Staging() {
    void* memory = nullptr;
    if (cudaHostAlloc(&memory, bytes, cudaHostAllocDefault) == cudaSuccess) {
      locked_ = static_cast<unsigned long long*>(memory);
    } else {
      (void)cudaGetLastError();
      pageable_.resize(count);
    }
  }
  ~Staging() {
    if (locked_) (void)cudaFreeHost(locked_);  // fails, to no harm, when the process ends
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  unsigned long long* values() { return locked_ ? locked_ : pageable_.data(); }

 private:
  static constexpr size_t bytes = count * sizeof(unsigned long long);
  unsigned long long* locked_ = nullptr;
  std::vector<unsigned long long> pageable_;
};

}  // namespace

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();  // an error of this call alone shall not fail the next one
  const std::string message = cudaGetErrorString(error);
  if (error == cudaErrorMemoryAllocation) throw OutOfDeviceMemory();
  throw DeviceError("CUDA: " + message);
}

void wait(const Execution& execution) {
  poll([&] { return cudaStreamQuery(stream_of(execution)); }, execution);
}

void* allocate_scratch(size_t bytes, cudaStream_t stream) {
  void* memory = nullptr;
  bytes = std::max<size_t>(bytes, 16);
  check(has_memory_pool() ? cudaMallocAsync(&memory, bytes, stream) : cudaMalloc(&memory, bytes));
  return memory;
}

void release_scratch(void* memory, cudaStream_t stream) noexcept {
  try {  // after a failed kernel nothing can be freed, nor need be
    (void)(has_memory_pool() ? cudaFreeAsync(memory, stream) : cudaFree(memory));
  } catch (const DeviceError&) {
    (void)cudaGetLastError();
  }
}

void add_to_host(int64_t* out, const Scratch<unsigned long long>& tally,
                 const Execution& execution) {
  wait(execution);
  thread_local Staging staging;
  for (int64_t first = 0; first < tally.size(); first += Staging::count) {
    const int64_t count = std::min(Staging::count, tally.size() - first);
    const auto bytes = static_cast<size_t>(count) * sizeof(unsigned long long);
    check(cudaMemcpy(staging.values(), tally.data() + first, bytes, cudaMemcpyDeviceToHost));
    for (int64_t i = 0; i < count; ++i) {
      const auto sum = static_cast<unsigned long long>(out[first + i]) + staging.values()[i];
      out[first + i] = static_cast<int64_t>(sum);
    }
  }
}

DeviceLimits device_limits() {
  int device = 0;
  check(cudaGetDevice(&device));
  auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device));
    return value;
  };
  return {attribute(cudaDevAttrMultiProcessorCount),
          attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin), attribute(cudaDevAttrL2CacheSize)};
}

Pace::Pace(const Execution& execution) : execution_(execution) {
  for (cudaEvent_t& event : events_) {
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  }
}

Pace::~Pace() {
  for (const cudaEvent_t event : events_) (void)cudaEventDestroy(event);
}

void Pace::step() {
  const cudaEvent_t event = events_[steps_ % queued];
  if (steps_ >= queued) poll([&] { return cudaEventQuery(event); }, execution_);
  check(cudaEventRecord(event, stream_of(execution_)));
  ++steps_;
}

}  // namespace cloister
