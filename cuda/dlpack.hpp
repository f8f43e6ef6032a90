// Device memory handed to other libraries: a capsule of DLPack (dlpack.h, the layout before 1.0,
// which every consumer takes).
#pragma once

#include "../cpp/bindings.hpp"

namespace cloister {

struct DlTensor {
  void* data;
  struct {
    int32_t type, id;
  } device;
  int32_t dimensions;
  struct {
    uint8_t code, bits;
    uint16_t lanes;
  } dtype;
  int64_t* shape;
  int64_t* strides;  // null: C-contiguous
  uint64_t byte_offset;
};

struct DlManagedTensor {
  DlTensor tensor;
  void* context;
  void (*deleter)(DlManagedTensor*);
};

constexpr const char* dl_name = "dltensor";
constexpr int32_t dl_cuda = 2;

struct DlOwned {
  DlManagedTensor managed{};
  std::vector<int64_t> shape;
  PyObject* owner = nullptr;
};

// A consumer may let go of the memory on any thread, and after the interpreter is gone.
inline void dl_release(DlManagedTensor* managed) {
  auto* owned = static_cast<DlOwned*>(managed->context);
  if (Py_IsInitialized()) {
    const py::gil_scoped_acquire gil;
    Py_DECREF(owned->owner);
  }
  delete owned;
}

// A capsule that keeps `owner`, and so the memory at `address`, until its consumer lets go.
inline py::capsule dl_capsule(Address address, const std::vector<int64_t>& shape, int code,
                              int bits, int device, py::object owner) {
  auto* owned = new DlOwned;
  owned->shape = shape;
  owned->owner = owner.release().ptr();
  DlTensor& tensor = owned->managed.tensor;
  tensor.data = reinterpret_cast<void*>(address);
  tensor.device = {dl_cuda, device};
  tensor.dimensions = static_cast<int32_t>(shape.size());
  tensor.dtype = {static_cast<uint8_t>(code), static_cast<uint8_t>(bits), 1};
  tensor.shape = owned->shape.data();
  owned->managed.context = owned;
  owned->managed.deleter = &dl_release;
  PyObject* capsule = PyCapsule_New(&owned->managed, dl_name, [](PyObject* self) {
    // A consumer renames what it takes, and then releases it itself.
    if (!PyCapsule_IsValid(self, dl_name)) return;
    auto* managed = static_cast<DlManagedTensor*>(PyCapsule_GetPointer(self, dl_name));
    managed->deleter(managed);
  });
  if (!capsule) throw py::error_already_set();
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace cloister
