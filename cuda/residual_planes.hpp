// Residuals as small integers for products of matrices of int8.
#pragma once

#include "prepare_residuals.hpp"

namespace cloister {

// A residual r of at most 2^11 in magnitude is 64 high + low. With s = high + low, which fits int8
// too, r r' = 4032 high high' + 64 s s' - 63 low low': three products where four seem to be needed.
constexpr int planes = 3;  // high, s, low
constexpr int64_t high_weight = 4032, sum_weight = 64, low_weight = -63;
constexpr int64_t places_of_tile = 64;  // rows that one block turns into columns

// Rows side by side in the order of the sort (or as they come): their residuals are columns of a
// tile, whose other columns are zero.
struct PlaneTile {
  int32_t first, rows;
};

// All addresses are the device's.
struct ResidualPlanes {
  const int16_t* codes;
  int64_t d;
  const int16_t* centres;
  const int32_t* cells;  // null: the first centre for all
  const int32_t* order;  // null: as they come
  const double* factors;
  const uint8_t* steps;
  const PlaneTile* tiles;  // null: 64 rows after the other, as many as there are
  int64_t rows;            // then
  int8_t* by_column;       // (planes, d, pitch): tile i has the places 64 i .. 64 i + 63
  int64_t pitch;           // a multiple of 64
  int8_t* by_row;    // (2, pitch, padded_d): high and low, zero past the end of a row; or null
  int64_t padded_d;  // a multiple of 64
};

void write_residual_planes(const ResidualPlanes& task, int64_t tiles, const Execution& execution);

}  // namespace cloister
