#include <memory>
#include <numeric>

#include "cells.hpp"
#include "parallel.hpp"
#include "zeroed_table.hpp"

namespace cloister {
namespace {

constexpr int64_t tile_rows = 510;  // int32 products of norm <= 2^11: 510 * 2^22 < 2^31

struct Residuals {
  const int16_t* codes;
  const int16_t* centres;
  int64_t d;
  Clip clip;
  const int64_t* rows;   // the rows of one group
  const int32_t* cells;  // the cell of each row of the data set

  void fill(int64_t begin, int64_t end, int16_t* tile) const {
    constexpr int64_t ahead = 8;  // rows asked for from memory while those before are clipped
    for (int64_t i = begin; i < end; ++i) {
      if (i + ahead < end) {
        const int16_t* code = codes + rows[i + ahead] * d;
        for (int64_t j = 0; j < d; j += 32) __builtin_prefetch(code + j);
      }
      const int64_t row = rows[i];
      targets().clip_residual(codes + row * d, centres + cells[row] * d, d, clip,
                              tile + (i - begin) * d);
    }
  }
};

// What one thread works in.
struct Workspace {
  Workspace(int64_t rows, int64_t d, Moment moment)
      : tile(new int16_t[static_cast<size_t>(rows * d)]),
        packed(moment == Moment::full
                   ? new int32_t[static_cast<size_t>((rows + 1) / 2 * ((d + 31) / 32 * 32))]
                   : nullptr) {}
  std::unique_ptr<int16_t[]> tile;
  std::unique_ptr<int32_t[]> packed;
};

// Adds the products of one tile by bands of the square, small enough to pass the checkpoint in
// between: at large d the square is much memory, touched here for the first time.
void add_products(const Workspace& space, int64_t m, int64_t d, int64_t* table,
                  Checkpoint& checkpoint) {
  const int64_t band = ((int64_t{1} << 20) / d / 8 + 1) * 8;
  targets().pack_residuals(space.tile.get(), m, d, space.packed.get());
  for (int64_t row = 0; row < d; row += band) {
    checkpoint.pass(band * d * m);
    targets().add_outer_products(space.packed.get(), m, d, row, std::min(row + band, d), table);
  }
}

void add_squares(const int16_t* tile, int64_t m, int64_t d, Moment moment, int64_t* table) {
  for (int64_t i = 0; i < m; ++i) {
    int64_t norm_squared = 0;
    for (int64_t j = 0; j < d; ++j) {
      const int32_t square = tile[i * d + j] * tile[i * d + j];
      norm_squared += square;
      if (moment == Moment::diagonal) table[j] += square;
    }
    if (moment == Moment::trace) table[0] += norm_squared;
  }
}

int64_t table_size(Moment moment, int64_t d) {
  return moment == Moment::full ? d * d : moment == Moment::diagonal ? d : 1;
}

void add_tables(const std::vector<ZeroedTable<int64_t>>& tables, Moment moment, int64_t d,
                int64_t* out, const Execution& execution) {
  if (moment != Moment::full) {
    for (const ZeroedTable<int64_t>& table : tables) {
      for (int64_t i = 0; i < table_size(moment, d); ++i) out[i] += table.data()[i];
    }
    return;
  }
  const int64_t rows_at_a_time = (int64_t{1} << 20) / d + 1;
  parallel_for(d, rows_at_a_time, execution, [&](int64_t begin, int64_t end, int64_t) {
    for (const ZeroedTable<int64_t>& table : tables) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t* triangle = out + i * d - i * (i + 1) / 2;  // entry (i, j) is triangle[j]
        for (int64_t j = i; j < d; ++j) triangle[j] += table.data()[i * d + j];
      }
    }
  });
}

void moments_of_group(const Residuals& residuals, int64_t n, Moment moment, int64_t* out,
                      const Execution& execution) {
  const int64_t d = residuals.d;
  // Tiles of some 10^9 products at most, so that a signal is noticed in time.
  const int64_t chunk = std::clamp<int64_t>((int64_t{1} << 30) / (d * d), 32, tile_rows);
  const int64_t size = table_size(moment, d);
  const int64_t threads = threads_with_tables(execution, n, chunk, 8 * size);
  const Execution shared{threads, execution.stream, execution.interrupted};
  std::vector<ZeroedTable<int64_t>> tables;
  std::vector<Workspace> spaces;
  for (int64_t slot = 0; slot < threads; ++slot) {
    tables.emplace_back(size);
    spaces.emplace_back(chunk, d, moment);
  }
  auto add = [&](int64_t begin, int64_t end, int64_t slot, Checkpoint& checkpoint) {
    const auto own = static_cast<size_t>(slot);
    residuals.fill(begin, end, spaces[own].tile.get());
    if (moment != Moment::full) {
      add_squares(spaces[own].tile.get(), end - begin, d, moment, tables[own].data());
      return;
    }
    add_products(spaces[own], end - begin, d, tables[own].data(), checkpoint);
  };
  parallel_for(n, chunk, shared, add);
  add_tables(tables, moment, d, out, execution);
}

// The cell of every row, numbered over all classes; -1 for rows outside all classes.
std::vector<int32_t> cells_of_rows(const int16_t* codes, int64_t n, int64_t d,
                                   const Partition& partition, const Execution& execution) {
  std::vector<int32_t> cells(static_cast<size_t>(n), -1);
  for (int64_t g = 0; g < partition.classes; ++g) {
    const int64_t start = partition.offsets[g], rows = partition.offsets[g + 1] - start;
    const auto first_cell = static_cast<int32_t>(g * partition.k);
    if (partition.k == 1) {
      std::fill_n(cells.begin() + start, rows, first_cell);
      continue;
    }
    const ClassCentres centres(codes, rows, d, partition.centres + first_cell * d, partition.k,
                               execution);
    std::vector<CellSpace> spaces(static_cast<size_t>(execution.threads));
    const int64_t tile = centres.tile_rows();
    parallel_for(rows, centres.chunk(rows, execution), execution,
                 [&](int64_t begin, int64_t end, int64_t slot, Checkpoint& checkpoint) {
                   CellScratch& scratch =
                       spaces[static_cast<size_t>(slot)].view(centres, checkpoint);
                   for (int64_t i = start + begin; i < start + end; i += tile) {
                     const int64_t last = std::min(i + tile, start + end);
                     int32_t* labels = cells.data() + i;
                     targets().assign_cells(centres.task(), i, last, scratch, labels);
                     for (int64_t j = 0; j < last - i; ++j) labels[j] += first_cell;
                   }
                 });
  }
  return cells;
}

}  // namespace

void moments(const int16_t* codes, int64_t n, int64_t d, Partition partition, Clip clip,
             const int64_t* group, Moment moment, int64_t* out, Execution execution) {
  const std::vector<int32_t> cells = cells_of_rows(codes, n, d, partition, execution);
  const int64_t groups = 1 + *std::max_element(group, group + partition.classes * partition.k);
  const int64_t out_size = moment == Moment::full ? d * (d + 1) / 2 : table_size(moment, d);
  // A counting sort of the rows by group; rows outside all classes are left out.
  std::vector<int64_t> ends(static_cast<size_t>(groups + 1), 0);
  auto group_of = [&](int32_t cell) { return static_cast<size_t>(group[cell]); };
  for (const int32_t cell : cells) {
    if (cell >= 0) ++ends[group_of(cell) + 1];
  }
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  std::vector<int64_t> next(ends);
  std::vector<int64_t> rows(static_cast<size_t>(ends.back()));
  for (int64_t i = 0; i < n; ++i) {
    const int32_t cell = cells[static_cast<size_t>(i)];
    if (cell >= 0) rows[static_cast<size_t>(next[group_of(cell)]++)] = i;
  }
  for (size_t g = 0; g < static_cast<size_t>(groups); ++g) {
    const Residuals residuals{codes, partition.centres,     d,
                              clip,  rows.data() + ends[g], cells.data()};
    moments_of_group(residuals, ends[g + 1] - ends[g], moment,
                     out + static_cast<int64_t>(g) * out_size, execution);
  }
}

}  // namespace cloister
