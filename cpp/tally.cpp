#include "cells.hpp"
#include "parallel.hpp"

namespace cloister {
namespace {

// One class. Each thread adds into tables of its own; the sum of tables is the same whichever
// thread took which rows.
void tally_class(const ClassCentres& centres, int64_t begin, int64_t end, Clip clip,
                 int64_t* counts, int64_t* sums, int32_t* labels, const Execution& execution) {
  const CellTask task = centres.task();
  const int64_t chunk = centres.chunk();
  const int64_t table = task.k * (task.d + 1);  // counts, then sums
  const int64_t threads = threads_with_tables(execution, end - begin, chunk, 8 * table);
  std::vector<int64_t> tables(static_cast<size_t>(threads * table), 0);
  const Execution shared{threads, execution.stream, execution.interrupted};
  parallel_for(end - begin, chunk, shared, [&](int64_t from, int64_t to, int64_t slot) {
    std::vector<int32_t> cells(static_cast<size_t>(to - from), 0);
    if (task.k > 1) targets().assign_cells(task, begin + from, begin + to, cells.data());
    int64_t* mine = tables.data() + slot * table;
    targets().add_rows(task, begin + from, begin + to, cells.data(), clip, mine, mine + task.k);
    if (labels) std::copy(cells.begin(), cells.end(), labels + begin + from);
  });
  // Unsigned: sums wrap modulo 2^64 by contract.
  auto add = [](int64_t& total, int64_t value) {
    total = static_cast<int64_t>(static_cast<uint64_t>(total) + static_cast<uint64_t>(value));
  };
  for (int64_t slot = 0; slot < threads; ++slot) {
    const int64_t* mine = tables.data() + slot * table;
    for (int64_t j = 0; j < task.k; ++j) add(counts[j], mine[j]);
    for (int64_t i = 0; i < task.k * task.d; ++i) add(sums[i], mine[task.k + i]);
  }
}

}  // namespace

void tally(const int16_t* codes, int64_t, int64_t d, Partition partition, Clip clip,
           int64_t* counts, int64_t* sums, int32_t* labels, Execution execution) {
  for (int64_t g = 0; g < partition.classes; ++g) {
    const int64_t first = g * partition.k;
    const ClassCentres centres(codes, d, partition.centres + first * d, partition.k, execution);
    tally_class(centres, partition.offsets[g], partition.offsets[g + 1], clip, counts + first,
                sums + first * d, labels, execution);
  }
}

}  // namespace cloister
