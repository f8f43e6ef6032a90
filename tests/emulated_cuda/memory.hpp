// Memory that ends at a page without access, filled with garbage.
#pragma once

#include <cstddef>

namespace emulated {

class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* pages_;
  size_t page_bytes_, bytes_;
  void* data_;  // on a multiple of 16, as near to the guard as that allows
};

}  // namespace emulated
