// What the host side of every device kernel shares: errors, scratch, launches, waiting.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "../cpp/kernels.hpp"

namespace cloister {

// Throws DeviceError, or OutOfDeviceMemory, if a call of the runtime failed.
void check(cudaError_t error);

inline cudaStream_t stream_of(const Execution& execution) {
  return reinterpret_cast<cudaStream_t>(execution.stream);
}

// Waits for the stream's work; throws Interrupted when a signal has come. What was queued by then
// still runs: kernels keep little in the queue.
void wait(const Execution& execution);

// Device memory of one call, given back in the order of the stream.
void* allocate_scratch(size_t bytes, cudaStream_t stream);
void release_scratch(void* memory, cudaStream_t stream) noexcept;

template <class T>
class Scratch {
 public:
  Scratch() = default;
  Scratch(int64_t count, cudaStream_t stream)
      : data_(static_cast<T*>(allocate_scratch(static_cast<size_t>(count) * sizeof(T), stream))),
        count_(count),
        stream_(stream) {}
  Scratch(Scratch&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(other.count_), stream_(other.stream_) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~Scratch() {
    if (data_) release_scratch(data_, stream_);
  }
  T* data() const { return data_; }
  int64_t size() const { return count_; }

  void clear() const { check(cudaMemsetAsync(data_, 0, bytes(), stream_)); }
  // The source must live until the stream has been waited for.
  void upload(const T* host) const {
    if (!count_) return;
    check(cudaMemcpyAsync(data_, host, bytes(), cudaMemcpyHostToDevice, stream_));
  }
  // Waits for the stream.
  std::vector<T> download(const Execution& execution) const {
    std::vector<T> out(static_cast<size_t>(count_));
    wait(execution);
    if (count_) check(cudaMemcpy(out.data(), data_, bytes(), cudaMemcpyDeviceToHost));
    return out;
  }

 private:
  size_t bytes() const { return static_cast<size_t>(count_) * sizeof(T); }
  T* data_ = nullptr;
  int64_t count_ = 0;
  cudaStream_t stream_ = nullptr;
};

// A copy of a public array of the host on the device; empty for null.
template <class T>
Scratch<std::remove_const_t<T>> uploaded(T* host, int64_t count, const Execution& execution) {
  if (!host) return {};
  Scratch<std::remove_const_t<T>> copy(count, stream_of(execution));
  copy.upload(host);
  return copy;
}

// out += what a kernel has added up, modulo 2^64. Waits for the stream.
void add_to_host(int64_t* out, const Scratch<unsigned long long>& tally,
                 const Execution& execution);

struct Grid3 {
  int64_t x = 1, y = 1, z = 1;
};

// Runs a kernel; nothing if the grid is empty. More than 48 KiB of dynamic shared memory must have
// been allowed by allow_shared.
template <class... Expected, class... Actual>
void launch(void (*kernel)(Expected...), Grid3 blocks, int threads, size_t shared_bytes,
            const Execution& execution, Actual&&... arguments) {
  if (blocks.x * blocks.y * blocks.z == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks.x), static_cast<unsigned>(blocks.y),
                        static_cast<unsigned>(blocks.z));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream_of(execution);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Expected>(arguments)...));
}

// Of the device in use.
struct DeviceLimits {
  int processors;        // streaming multiprocessors
  int64_t shared_bytes;  // of one block, at most
  int64_t cache_bytes;   // of the second level
};
DeviceLimits device_limits();

// Lets a kernel without shared memory of its own have as much as a block can. The limit belongs to
// the kernel and the device, not to a launch: if each call set what it needs, one of another thread
// could lower it between this and the launch.
template <class Kernel>
void allow_shared(Kernel* kernel) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(device_limits().shared_bytes)));
}

// Keeps at most a few steps of a long kernel in the stream's queue, and asks for signals.
class Pace {
 public:
  explicit Pace(const Execution& execution);
  ~Pace();
  Pace(const Pace&) = delete;
  Pace& operator=(const Pace&) = delete;
  void step();  // after the launches of each step, which takes 50 ms or less

 private:
  static constexpr size_t queued = 4;
  const Execution& execution_;
  cudaEvent_t events_[queued] = {};
  size_t steps_ = 0;
};

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace cloister
