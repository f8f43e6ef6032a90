// What only the device's module offers: memory, streams and events by address, and what there is.
#include <cuda_runtime.h>
#include <pybind11/stl.h>

#include "../cpp/bindings.hpp"
#include "dlpack.hpp"
#include "gather.hpp"
#include "runtime.hpp"

#ifndef CLOISTER_ARCHITECTURES
#define CLOISTER_ARCHITECTURES ""
#endif

namespace cloister {
namespace {

template <class T>
T handle(Address address) {
  return reinterpret_cast<T>(address);
}

template <class T>
Address address_of(T* handle) {
  return reinterpret_cast<Address>(handle);
}

int count_devices() {
  int count = 0;
  // Without a driver, or with one that is too old, there are none.
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    (void)cudaGetLastError();
    return 0;
  }
  return count;
}

py::dict describe(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device));
  py::dict out;
  out["name"] = std::string(properties.name);
  out["memory"] = properties.totalGlobalMem;
  out["capability"] = py::make_tuple(properties.major, properties.minor);
  out["processors"] = properties.multiProcessorCount;
  return out;
}

int version(cudaError_t (*ask)(int*)) {
  int value = 0;
  check(ask(&value));
  return value;
}

void register_devices(py::module_& m) {
  m.def("device_count", &count_devices);
  m.def("describe", &describe);
  m.def("use_device", [](int device) { check(cudaSetDevice(device)); });
  m.def("current_device", [] {
    int device = 0;
    check(cudaGetDevice(&device));
    return device;
  });
  // The device whose memory an address is; -1 for the host's.
  m.def("device_of", [](Address address) {
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, handle<const void*>(address)));
    const bool is_device =
        attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    return is_device ? attributes.device : -1;
  });
  m.def("driver_version", [] { return version(cudaDriverGetVersion); });
  m.def("runtime_version", [] { return version(cudaRuntimeGetVersion); });
  m.attr("architectures") = CLOISTER_ARCHITECTURES;
  m.def("memory", [] {
    size_t free_bytes = 0, total = 0;
    check(cudaMemGetInfo(&free_bytes, &total));
    return py::make_tuple(free_bytes, total);
  });
}

void register_memory(py::module_& m) {
  m.def("allocate", [](size_t bytes, Address stream) {
    return address_of(allocate_scratch(bytes, handle<cudaStream_t>(stream)));
  });
  m.def("release", [](Address memory, Address stream) {
    release_scratch(handle<void*>(memory), handle<cudaStream_t>(stream));
  });
  // Page-locked: copies from and to it run beside kernels, at the speed of the bus.
  m.def("allocate_pinned", [](size_t bytes) {
    const py::gil_scoped_release release;  // a second for a few gigabytes
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, std::max<size_t>(bytes, 1), cudaHostAllocDefault));
    return address_of(memory);
  });
  m.def("release_pinned", [](Address memory) {
    const py::gil_scoped_release release;
    (void)cudaFreeHost(handle<void*>(memory));
  });
  // The same for memory that is there already; false where the system does not allow it.
  m.def("lock_pages", [](Address memory, size_t bytes) {
    const py::gil_scoped_release release;
    const cudaError_t error = cudaHostRegister(at<void>(memory), bytes, cudaHostRegisterDefault);
    (void)cudaGetLastError();
    return error == cudaSuccess;
  });
  m.def("unlock_pages", [](Address memory) {
    const py::gil_scoped_release release;
    (void)cudaHostUnregister(at<void>(memory));
  });
  // Returns before the copy is done; either end may be the host's or the device's.
  m.def("copy", [](Address to, Address from, size_t bytes, Address stream) {
    const py::gil_scoped_release release;
    check(cudaMemcpyAsync(handle<void*>(to), handle<const void*>(from), bytes, cudaMemcpyDefault,
                          handle<cudaStream_t>(stream)));
  });
}

void register_rows(py::module_& m) {
  m.def("gather", [](Address from, Address indices, int64_t count, int64_t row_bytes, Address to,
                     Address stream) {
    run([&] {
      gather(at<const void>(from), at<const int64_t>(indices), count, row_bytes, at<void>(to),
             on(1, stream));
    });
  });
  m.def("dlpack", &dl_capsule);
}

void register_streams(py::module_& m) {
  m.def("create_stream", [] {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return address_of(stream);
  });
  m.def("destroy_stream",
        [](Address stream) { (void)cudaStreamDestroy(handle<cudaStream_t>(stream)); });
  m.def("synchronize", [](Address stream) { run([&] { wait(on(1, stream)); }); });
  m.def("create_event", [] {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return address_of(event);
  });
  m.def("destroy_event", [](Address event) { (void)cudaEventDestroy(handle<cudaEvent_t>(event)); });
  m.def("record_event", [](Address event, Address stream) {
    check(cudaEventRecord(handle<cudaEvent_t>(event), handle<cudaStream_t>(stream)));
  });
  // Work queued on the stream from now on waits for what the event has recorded.
  m.def("wait_event", [](Address stream, Address event) {
    check(cudaStreamWaitEvent(handle<cudaStream_t>(stream), handle<cudaEvent_t>(event), 0));
  });
}

}  // namespace

void register_backend(py::module_& m) {
  register_devices(m);
  register_memory(m);
  register_rows(m);
  register_streams(m);
}

}  // namespace cloister
