// Cells by the screen: for classes of many rows and centres.
#pragma once

#include "cell_planes.hpp"

namespace cloister {

// Classes of fewer rows are not screened: a tile of rows would be mostly empty.
constexpr int64_t fewest_screened_rows = 128;
// By shape alone: with fewer centres or features, padded planes cost more than all exact scores.
// Nor are planes made for centres of many small classes: they take no more memory than the rows.
inline bool shape_is_screened(int64_t n, int64_t d, int64_t k, int64_t classes) {
  return k >= 8 && d >= 32 && d <= int64_t{1} << 17 &&  // 127^2 times as many fits int32
         n / fewest_screened_rows >= classes;
}

// cells[i] = g * k + j for the rows of classes with at least fewest_screened_rows; others are left
// as they are. centres: the partition's, on the device.
void screen_cells(const int16_t* codes, int64_t n, int64_t d, const Partition& partition,
                  const int16_t* centres, int32_t* cells, const Execution& execution);

}  // namespace cloister
