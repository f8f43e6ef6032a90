// Exact sums of products of residuals, from their planes.
#pragma once

#include "residual_planes.hpp"

namespace cloister {

constexpr int64_t longest_slice = int64_t{1}
                                  << 18;  // |s| <= 64: sums of so many products fit int32

// Places begin .. end of the planes, multiples of 64, which add to matrix number `out`.
struct PlaneSlice {
  int32_t out, begin, end;
};

// Adds to out (matrices, entries) the products  sum over places of left_i right_j: all of them by
// rows, or the upper triangle by rows. All addresses are the device's.
struct PlaneProducts {
  const int8_t* left;   // (planes, rows, pitch)
  const int8_t* right;  // (planes, columns, pitch)
  int64_t rows, columns, pitch;
  bool triangle;
  const PlaneSlice* slices;  // at most longest_slice places each
  int64_t used;              // places; slices end there
  unsigned long long* out;
};

void add_plane_products(const PlaneProducts& task, int64_t slices, const Execution& execution);

// How many slices of the same places keep the device busy.
int64_t slices_at_once(int64_t rows, int64_t columns, bool triangle);

}  // namespace cloister
