// The cells of rows, on the device: what every question begins with.
#pragma once

#include "runtime.hpp"

namespace cloister {

// cells[i] = the cell of row i by its definition in kernels.hpp, numbered over all classes (g * k +
// j); -1 for rows outside all classes. codes and cells are device memory, the partition the host's.
void assign_cells(const int16_t* codes, int64_t n, int64_t d, const Partition& partition,
                  int32_t* cells, const Execution& execution);

}  // namespace cloister
