// Devices, streams, events and copies of the emulated runtime.
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "cuda_runtime.h"
#include "memory.hpp"

struct EmulatedStream {
  std::deque<std::function<void()>> work;
  uint64_t enqueued = 0, done = 0;

  void run_one() {
    const std::function<void()> next = std::move(work.front());
    work.pop_front();
    next();
    ++done;
  }
  void run_until(uint64_t count) {
    while (done < count && !work.empty()) run_one();
  }
};

struct EmulatedEvent {
  EmulatedStream* stream = nullptr;
  uint64_t count = 0;
};

namespace emulated {
namespace {

std::recursive_mutex lock;  // kernels share static memory: one thing at a time
EmulatedStream default_stream;
std::set<EmulatedStream*> streams{&default_stream};
std::map<std::uintptr_t, std::unique_ptr<GuardedMemory>> device_memory;
size_t allocated = 0;
thread_local int current_device = 0;

long setting(const char* name, long otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atol(value) : otherwise;
}
int devices() { return int(setting("CLOISTER_EMULATED_DEVICES", 1)); }
size_t total_memory() { return size_t(setting("CLOISTER_EMULATED_MEMORY", 4L << 30)); }

EmulatedStream* stream_of(cudaStream_t stream) {
  return stream == nullptr || stream == cudaStreamLegacy ? &default_stream : stream;
}

[[noreturn]] void die(const char* what, const void* pointer) {
  std::fprintf(stderr, "emulated device: %s %p\n", what, pointer);
  std::abort();
}

bool on_device(const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  auto after = device_memory.upper_bound(address);
  if (after == device_memory.begin()) return false;
  const auto& [start, memory] = *--after;
  return address + bytes <= start + memory->bytes();
}

void check_side(const void* pointer, size_t bytes, bool device) {
  if (bytes && on_device(pointer, bytes) != device) die("copy on the wrong side", pointer);
}

void check_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDefault) return;
  check_side(to, bytes, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice);
  check_side(from, bytes, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice);
}

}  // namespace

void enqueue(cudaStream_t stream, std::function<void()> work) {
  const std::lock_guard guard(lock);
  EmulatedStream* queue = stream_of(stream);
  queue->work.push_back(std::move(work));
  ++queue->enqueued;
}

void check_device_pointer(const void* pointer) {
  const std::lock_guard guard(lock);
  if (pointer && !on_device(pointer, 1)) die("a kernel was given an address of the host", pointer);
}

}  // namespace emulated

using namespace emulated;
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorNotReady:
      return "device not ready";
    default:
      return "invalid argument";
  }
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = devices();
  return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= devices()) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof properties->name, "emulated device");
  properties->totalGlobalMem = total_memory();
  properties->major = 8;
  properties->minor = 0;
  properties->multiProcessorCount = 4;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      break;
    case cudaDevAttrL2CacheSize:
      *value = int(setting("CLOISTER_EMULATED_CACHE", 1 << 20));
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = int(setting("CLOISTER_EMULATED_POOLS", 1));
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 8;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = 48 << 10;
      break;
    default:
      *value = int(setting("CLOISTER_EMULATED_SHARED_MEMORY", 163 << 10));
  }
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const std::lock_guard guard(lock);
  *attributes = {on_device(pointer, 1) ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered,
                 current_device};
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = total_memory();
  *free_bytes = *total_bytes - std::min(allocated, *total_bytes);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const std::lock_guard guard(lock);
  if (allocated + bytes > total_memory()) return cudaErrorMemoryAllocation;
  auto owned = std::make_unique<GuardedMemory>(std::max<size_t>(bytes, 1));
  *memory = owned->data();
  allocated += owned->bytes();
  device_memory[reinterpret_cast<std::uintptr_t>(*memory)] = std::move(owned);
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  if (!memory) return cudaSuccess;
  cudaDeviceSynchronize();
  const std::lock_guard guard(lock);
  const auto found = device_memory.find(reinterpret_cast<std::uintptr_t>(memory));
  if (found == device_memory.end()) die("freed twice, or never allocated:", memory);
  allocated -= found->second->bytes();
  device_memory.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t) {
  if (!setting("CLOISTER_EMULATED_POOLS", 1)) die("memory of a pool, but there are none:", nullptr);
  return cudaMalloc(memory, bytes);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  enqueue(stream, [memory] {
    const auto found = device_memory.find(reinterpret_cast<std::uintptr_t>(memory));
    if (found == device_memory.end()) die("freed twice, or never allocated:", memory);
    allocated -= found->second->bytes();
    device_memory.erase(found);
  });
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* memory) {
  cudaDeviceSynchronize();
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return cudaDeviceSynchronize();
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  {
    const std::lock_guard guard(lock);
    check_copy(to, from, bytes, kind);
  }
  enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  {
    const std::lock_guard guard(lock);
    check_side(memory, bytes, true);
  }
  enqueue(stream, [=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const std::lock_guard guard(lock);
  for (EmulatedStream* stream : streams) stream->run_until(stream->enqueued);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::lock_guard guard(lock);
  *stream = new EmulatedStream;
  streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  cudaStreamSynchronize(stream);
  const std::lock_guard guard(lock);
  streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard guard(lock);
  EmulatedStream* queue = stream_of(stream);
  queue->run_until(queue->enqueued);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const std::lock_guard guard(lock);
  EmulatedStream* queue = stream_of(stream);
  if (queue->work.empty()) return cudaSuccess;
  queue->run_one();
  return cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  EmulatedStream* other = event->stream;
  const uint64_t count = event->count;
  if (other) enqueue(stream, [other, count] { other->run_until(count); });
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard guard(lock);
  event->stream = stream_of(stream);
  event->count = event->stream->enqueued;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard guard(lock);
  if (!event->stream || event->stream->done >= event->count) return cudaSuccess;
  event->stream->run_one();
  return cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard guard(lock);
  if (event->stream) event->stream->run_until(event->count);
  return cudaSuccess;
}
