#include <vector>

#include "parallel.hpp"
#include "targets.hpp"

namespace cloister {

void bins(const int16_t* codes, int64_t, int64_t d, Grid grid, const int64_t* offsets,
          int64_t classes, int64_t* counts, Execution execution) {
  int64_t size = 1;
  for (int64_t axis = 0; axis < grid.axes; ++axis) size *= grid.cells[axis];
  const int64_t chunk = std::max<int64_t>(1, (int64_t{1} << 20) / (d * (grid.axes + 1)));
  for (int64_t g = 0; g < classes; ++g) {
    const int64_t rows = offsets[g + 1] - offsets[g];
    const int64_t threads = threads_with_tables(execution, rows, chunk, 8 * size);
    std::vector<int64_t> tables(static_cast<size_t>(threads * size), 0);
    const Execution shared{threads, execution.stream, execution.interrupted};
    parallel_for(rows, chunk, shared, [&](int64_t begin, int64_t end, int64_t slot) {
      targets().bin_rows(codes, offsets[g] + begin, offsets[g] + end, d, grid,
                         tables.data() + slot * size);
    });
    for (int64_t slot = 0; slot < threads; ++slot) {
      for (int64_t bin = 0; bin < size; ++bin)
        counts[g * size + bin] += tables[static_cast<size_t>(slot * size + bin)];
    }
  }
}

}  // namespace cloister
