// Codes as the screen of cells reads them: int8 planes of rows and of centres.
//
// Both are taken less a public integer point m of their class, near its centres: with y = x - m,
//   S_j = |c_j - m|^2 - 2 <y, c_j - m>  =  (|c_j|^2 - 2 <x, c_j>) + what is the same for all j,
// so that codes that lie far from the origin cost no precision. A vector y stands for s q, q its
// int8 codes, s a scale of its own, and e = |y - s q| is measured. By Cauchy and Schwarz
//   |<y, c> - <s q, s' q'>| <= e |c| + |s q| |c - s' q'| <= e C + (|y| + e) E,
// C and E the largest |c_j - m| and error of the class's centres. The float32 steps of a score,
//   fl(fl(fl(<q, q'>) s') (-2 s) + fl(|c|^2)),
// add less than 2^-24 (|c|^2 + 4.1 |s q| |s' q'| + |A|) <= 2^-21 (C + E) (C + E + |y| + e).
// So |A_j - S_j| is at most twice the first and once the second, and reach twice that (screen.hpp).
#pragma once

#include "screen.hpp"

namespace cloister {

// Of all classes, on the device.
struct CellCentres {
  const int16_t* codes;   // (classes, k, d)
  int64_t d, k, classes;
  int64_t stride, padded_k;
  Scratch<int16_t> shifts;    // (classes, d)
  Scratch<uint8_t> bytes;     // (classes, padded_k, stride)
  Scratch<CentreTerm> terms;  // (classes, padded_k)
  Scratch<float> largest;     // (classes, 2): C and E, at least
};
CellCentres cell_centres(const int16_t* codes, int64_t d, int64_t k, int64_t classes,
                         const Execution& execution);

// The planes of a chunk of rows; codes point to its first row.
struct CellRows {
  Scratch<uint8_t> bytes;            // (rows, stride)
  Scratch<float> factors, reaches;  // (rows,)
};
void fill_cell_rows(const int16_t* codes, const CellCentres& centres, const RowTile* tiles,
                    int64_t tile_count, const CellRows& rows, const Execution& execution);

}  // namespace cloister
