#include "memory.hpp"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulated {

GuardedMemory::GuardedMemory(size_t bytes) : bytes_(bytes) {
  constexpr size_t page = 4096;
  const size_t used = (bytes + page - 1) / page * page;
  page_bytes_ = used + page;
  pages_ = mmap(nullptr, page_bytes_, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages_ == MAP_FAILED) {
    std::fprintf(stderr, "emulated device: no memory\n");
    std::abort();
  }
  mprotect(static_cast<char*>(pages_) + used, page, PROT_NONE);
  data_ = static_cast<char*>(pages_) + (used - (bytes + 15) / 16 * 16);
  std::memset(data_, 0xA5, bytes);
}

GuardedMemory::~GuardedMemory() { munmap(pages_, page_bytes_); }

}  // namespace emulated
