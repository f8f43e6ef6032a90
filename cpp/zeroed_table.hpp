// The table of one thread, large and perhaps sparse.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace cloister {

// Zeros that take no time here: the system hands them out, page by page, to the thread that first
// adds to them, between whose chunks a signal is noticed.
class ZeroedTable {
 public:
  explicit ZeroedTable(int64_t size)
      : entries_(static_cast<int64_t*>(std::calloc(static_cast<size_t>(size), sizeof(int64_t)))) {
    if (!entries_) throw std::bad_alloc();
  }
  int64_t* data() const { return entries_.get(); }

 private:
  struct Free {
    void operator()(int64_t* entries) const { std::free(entries); }
  };
  std::unique_ptr<int64_t, Free> entries_;
};

}  // namespace cloister
