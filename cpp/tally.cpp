#include <utility>

#include "cells.hpp"
#include "parallel.hpp"
#include "zeroed_table.hpp"

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
    sums_ = ZeroedTable<int32_t>(k * d);
  }

  void add_rows(const CellTask& task, int64_t begin, int64_t end, const int32_t* cells, Clip clip) {
    targets().add_rows(task, begin, end, cells, clip, counts_.data(), sums_.data());
    rows_ += end - begin;
  }

  bool has_room(int64_t rows) const { return rows_ + rows <= rows_between_flushes; }

  // Moves the cells begin .. end to (cells,) and (cells, d); of those without rows, nothing is
  // read.
  void flush(int64_t begin, int64_t end, int64_t d, int64_t* counts, int64_t* sums) {
    for (int64_t j = begin; j < end; ++j) {
      int64_t& count = counts_[static_cast<size_t>(j)];
      if (count == 0) continue;
      add(counts[j], std::exchange(count, 0));
      int32_t* own = sums_.data() + j * d;
      for (int64_t t = 0; t < d; ++t) add(sums[j * d + t], std::exchange(own[t], 0));
    }
  }

  void flush_all(int64_t d, int64_t* counts, int64_t* sums, Checkpoint& checkpoint) {
    const auto k = static_cast<int64_t>(counts_.size());
    for (int64_t j = 0; j < k; ++j) {
      checkpoint.pass(d);
      flush(j, j + 1, d, counts, sums);
    }
    rows_ = 0;
  }

  bool is_used() const { return !counts_.empty(); }

 private:
  std::vector<int64_t> counts_;
  ZeroedTable<int32_t> sums_;
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
  std::timed_mutex lock;
  const Execution shared{threads, execution.stream, execution.interrupted};
  auto add_chunk = [&](int64_t from, int64_t to, int64_t slot, Checkpoint& checkpoint) {
    Table& table = tables[static_cast<size_t>(slot)];
    CellSpace& space = spaces[static_cast<size_t>(slot)];
    CellScratch& scratch = space.view(centres, checkpoint);
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
        std::unique_lock<std::timed_mutex> guard(lock, std::defer_lock);
        while (!guard.try_lock_for(Checkpoint::between_questions)) checkpoint.ask();
        table.flush_all(task.d, counts, sums, checkpoint);
      }
      table.add_rows(task, first, last, cells, clip);
    }
  };
  parallel_for(end - begin, chunk, shared, add_chunk);
  const int64_t some = (int64_t{1} << 20) / task.d + 1;
  parallel_for(task.k, some, execution, [&](int64_t from, int64_t to, int64_t) {
    for (Table& table : tables) {
      if (table.is_used()) table.flush(from, to, task.d, counts, sums);
    }
  });
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
