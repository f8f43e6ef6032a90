// What the bindings of both backends share.
#pragma once

#include <pybind11/pybind11.h>

#include "kernels.hpp"

namespace cloister {

namespace py = pybind11;

using Address = std::uintptr_t;  // 0 for an output that is not wanted

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

inline bool signalled() {
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

inline Execution on(int64_t threads, Address stream) { return {threads, stream, signalled}; }

// Runs a kernel without the GIL; a signal's exception, already set, is passed on.
template <class Kernel>
void run(Kernel&& kernel) {
  try {
    const py::gil_scoped_release release;
    kernel();
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

void register_backend(py::module_& m);  // what one backend offers and the other does not

}  // namespace cloister
