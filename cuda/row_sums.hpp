// Sums over the rows of each cell, in registers: every row is read once.
#pragma once

#include "group_rows.hpp"

namespace cloister {

enum class Summed : int { values = 0, squares = 1, norms = 2 };

// All addresses are the device's. With r = the Clip of (code - centre of the cell) or, without
// centres, the code itself, the rows of cell c add to sums[group[c]] (without groups: sums[c])
//   values: r (d entries),  squares: r_j^2 (d),  norms: the sum of r_j^2 (1)
// modulo 2^64; the latter two with a bound of at most 2^11.
struct RowSums {
  const int16_t* codes;
  int64_t d;
  const int16_t* centres;
  Clip clip;
  const int64_t* group;
  Summed summed;
  unsigned long long* sums;
};

// Of n rows, grouped by their cells.
void add_row_sums(const RowSums& task, const int32_t* cells, int64_t n, const RowGroups& groups,
                  const Execution& execution);

}  // namespace cloister
