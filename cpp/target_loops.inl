// The loops of one instruction set, and their table. The including file has opened an unnamed
// namespace (no weak symbol may leave a target, so the loops use no templates of the library) and
// defined is_supported() and namespace simd with the vector types Int32 and Float32.
#include "clip.inl"
#include "normal.inl"
#include "products.inl"
#include "screen.inl"
// The four above serve those below.
#include "bins.inl"
#include "centres.inl"
#include "cluster_sums.inl"
#include "encode.inl"
#include "moments.inl"
#include "refine.inl"
// They serve the next.
#include "nearest.inl"
// Rows are packed there.
#include "distances.inl"
#include "noise.inl"
#include "sample_mixture.inl"
// This one serves the last.
#include "cell_screen.inl"
// Cells that are not screened are found there.
#include "tally.inl"

constexpr Targets table(const char* name) {
  return {name,
          is_supported,
          encode_rows,
          assign_cells,
          add_rows,
          clip_residual,
          add_outer_products,
          bin_rows,
          simd::prefers_int8,
          simd::broadcast_block,
          lanes,
          prepare_centres,
          encode_nearest_rows,
          nearest_rows,
          all_distances_rows,
          label_distances,
          add_moved_rows,
          chacha20,
          sample_rows};
}
