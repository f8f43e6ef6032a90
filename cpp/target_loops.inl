// The loops of one instruction set, and their table. The including file has opened an unnamed
// namespace (no weak symbol may leave a target, so the loops use no templates of the library) and
// defined is_supported() and namespace simd with the vector types Int32 and Float32.
#include "clip.inl"
#include "normal.inl"
#include "products.inl"
// The three above serve those below.
#include "bins.inl"
#include "encode.inl"
#include "moments.inl"
#include "nearest.inl"
#include "noise.inl"
#include "sample_mixture.inl"
#include "tally.inl"

constexpr Targets table(const char* name) {
  return {name,          is_supported,     encode_rows,        assign_cells,   add_rows,
          clip_residual, pack_residuals,   add_outer_products, bin_rows,       prepare_centres,
          nearest_rows,  add_nearest_rows, chacha20,           judge_attempts, sample_rows};
}
