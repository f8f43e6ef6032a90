#include <utility>

#include "cells.hpp"
#include "parallel.hpp"

namespace cloister {
namespace {

constexpr int64_t rows_between_flushes = 65'535;  // of any int16: their sums fit int32

// Unsigned: sums wrap modulo 2^64 by contract.
void add(int64_t& total, int64_t value) {
  total = static_cast<int64_t>(static_cast<uint64_t>(total) + static_cast<uint64_t>(value));
}

// What one thread has added up.
class Table {
 public:
  void allocate(int64_t k, int64_t d) {
    if (!counts_.empty()) return;
    counts_.assign(static_cast<size_t>(k), 0);
    sums_.assign(static_cast<size_t>(k * d), 0);
  }

  void add_rows(const CellTask& task, int64_t begin, int64_t end, const int32_t* cells, Clip clip) {
    targets().add_rows(task, begin, end, cells, clip, counts_.data(), sums_.data());
    rows_ += end - begin;
  }

  bool has_room(int64_t rows) const { return rows_ + rows <= rows_between_flushes; }

  void flush(int64_t* counts, int64_t* sums) {
    for (size_t j = 0; j < counts_.size(); ++j) add(counts[j], std::exchange(counts_[j], 0));
    for (size_t i = 0; i < sums_.size(); ++i) add(sums[i], std::exchange(sums_[i], 0));
    rows_ = 0;
  }

 private:
  std::vector<int64_t> counts_;
  std::vector<int32_t> sums_;
  int64_t rows_ = 0;
};

// One class. Each thread adds into a table of its own; the sum of tables is the same whichever
// thread took which rows.
void tally_class(const ClassCentres& centres, int64_t begin, int64_t end, Clip clip,
                 int64_t* counts, int64_t* sums, int32_t* labels, const Execution& execution) {
  const CellTask& task = centres.task();
  const int64_t chunk = centres.chunk(end - begin, execution), tile = centres.tile_rows();
  const int64_t bytes = 4 * task.k * (task.d + 2);
  const int64_t threads = threads_with_tables(execution, end - begin, chunk, bytes);
  std::vector<Table> tables(static_cast<size_t>(threads));
  std::vector<CellSpace> spaces(static_cast<size_t>(threads));
  std::mutex lock;
  const Execution shared{threads, execution.stream, execution.interrupted};
  parallel_for(end - begin, chunk, shared, [&](int64_t from, int64_t to, int64_t slot) {
    Table& table = tables[static_cast<size_t>(slot)];
    CellSpace& space = spaces[static_cast<size_t>(slot)];
    CellScratch& scratch = space.view(centres);
    table.allocate(task.k, task.d);
    for (int64_t first = begin + from; first < begin + to; first += tile) {
      const int64_t last = std::min(first + tile, begin + to);
      int32_t* cells = labels ? labels + first : space.cells();
      if (task.k > 1) {
        targets().assign_cells(task, first, last, scratch, cells);
      } else {
        std::fill(cells, cells + (last - first), 0);
      }
      if (!table.has_room(last - first)) {
        const std::lock_guard<std::mutex> guard(lock);
        table.flush(counts, sums);
      }
      table.add_rows(task, first, last, cells, clip);
    }
  });
  for (Table& table : tables) table.flush(counts, sums);
}

}  // namespace

void tally(const int16_t* codes, int64_t, int64_t d, Partition partition, Clip clip,
           int64_t* counts, int64_t* sums, int32_t* labels, Execution execution) {
  for (int64_t g = 0; g < partition.classes; ++g) {
    const int64_t first = g * partition.k;
    const int64_t begin = partition.offsets[g], end = partition.offsets[g + 1];
    if (begin == end) continue;
    const ClassCentres centres(codes, end - begin, d, partition.centres + first * d, partition.k,
                               execution);
    tally_class(centres, begin, end, clip, counts + first, sums + first * d, labels, execution);
  }
}

}  // namespace cloister
