// The table of one thread, large and perhaps sparse.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace cloister {

// Zeros that take no time here: the system hands them out, page by page, to the thread that first
// adds to them, between whose chunks a signal is noticed. They start a cache line.
template <class T>
class ZeroedTable {
 public:
  ZeroedTable() = default;
  explicit ZeroedTable(int64_t size)
      : entries_(
            static_cast<T*>(std::calloc(static_cast<size_t>(size) + line / sizeof(T), sizeof(T)))) {
    if (!entries_) throw std::bad_alloc();
  }
  T* data() const {
    const auto address = reinterpret_cast<std::uintptr_t>(entries_.get());
    return entries_.get() + (line - address % line) % line / sizeof(T);
  }

 private:
  static constexpr size_t line = 64;
  struct Free {
    void operator()(T* entries) const { std::free(entries); }
  };
  std::unique_ptr<T, Free> entries_;
};

}  // namespace cloister
