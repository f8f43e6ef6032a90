// Codes as the screen of cells reads them: int8 planes of rows and of centres.
//
// Both are taken less a public integer point m of their class, near its centres: with y = x - m,
//   S_j = |c_j - m|^2 - 2 <y, c_j - m>  =  (|c_j|^2 - 2 <x, c_j>) + what is the same for all j,
// so that codes that lie far from the origin cost no precision. A vector y stands for s q, q its
// int8 codes, s a scale of its own, and e = |y - s q| is measured. With n_j = |c_j - m| + e_j and
// E = max e_j / n_j over the class's centres, Cauchy and Schwarz give
//   |<y, c> - <s q, s' q'>| <= e |c| + |s q| |c - s' q'| <= n_j (e + (|y| + e) E),
// and twice that the scores. With N = max n_j, the float32 steps of a score,
//   fl(fl(fl(<q, q'>) s') (-2 s) + fl(|c|^2)),
// add at most 2^-24 (|c|^2 + 4.1 |s q| |s' q'| + |A|) <= n_j 2^-21 (N + |y| + e), and those of its
// bounds, fl(A +- slope n_j), at most n_j 2^-22 (N + |y| + e) + 2^-24 slope n_j. Hence
//   slope = (2 e + 2 (|y| + e) E + 2^-20 (N + |y| + e)) (1 + 2^-20).
#pragma once

#include "screen.hpp"

namespace cloister {

// Of all classes, on the device.
struct CellCentres {
  const int16_t* codes;  // (classes, k, d)
  int64_t d, k, classes;
  int64_t stride, padded_k;
  Scratch<int16_t> shifts;    // (classes, d)
  Scratch<uint8_t> bytes;     // (classes, padded_k, stride)
  Scratch<CentreTerm> terms;  // (classes, padded_k)
  Scratch<float> largest;     // (classes, 2): N and E, at least
};
CellCentres cell_centres(const int16_t* codes, int64_t d, int64_t k, int64_t classes,
                         const Execution& execution);

// The planes of a chunk of rows; codes point to its first row.
struct CellRows {
  Scratch<uint8_t> bytes;  // (rows, stride)
  Scratch<RowTerm> terms;  // (rows,)
};
void fill_cell_rows(const int16_t* codes, const CellCentres& centres, const RowTile* tiles,
                    int64_t tile_count, const CellRows& rows, const Execution& execution);

}  // namespace cloister
