// The loops of one instruction set, and their table. The including file has opened an unnamed
// namespace (no weak symbol may leave a target, so the loops use no templates of the library) and
// defined is_supported() and namespace simd with the vector types Int32 and Float32.
#include "clip.inl"
#include "normal.inl"
#include "products.inl"
// The three above serve those below.
#include "screen.inl"
// It serves those below.
#include "centres.inl"
#include "pack_rows.inl"
#include "refine.inl"
// They serve those below.
#include "neighbours.inl"
// It serves the next.
#include "tile.inl"
// And that one the next.
#include "bins.inl"
#include "cluster_sums.inl"
#include "distances.inl"
#include "encode.inl"
#include "moments.inl"
#include "nearest.inl"
// Rows are packed and measured there.
#include "closest_narrow.inl"
// It serves the next.
#include "closest.inl"
#include "noise.inl"
#include "ranges.inl"
#include "sample_mixture.inl"
// This one serves the last.
#include "cell_screen.inl"
// Cells that are not screened are found there.
#include "tally.inl"
// Lanes are summed there.
#include "gradient.inl"

constexpr Targets table(const char* name) {
  return {
      .name = name,
      .supported = is_supported,
      .encode_rows = encode_rows,
      .assign_cells = assign_cells,
      .add_rows = add_rows,
      .clip_residual = clip_residual,
      .pack_residuals = pack_residuals,
      .add_outer_products = add_outer_products,
      .score_classes = score_classes,
      .softmax_codes = softmax_codes,
      .add_class_products = add_class_products,
      .bin_rows = bin_rows,
      .prefers_int8 = simd::prefers_int8,
      .widest_block = simd::broadcast_block,
      .lanes = lanes,
      .prepare_centres = prepare_centres,
      .measure_centres = measure_centres,
      .add_ranges = add_ranges,
      .encode_nearest_rows = encode_nearest_rows,
      .nearest_rows = nearest_rows,
      .all_distances_rows = all_distances_rows,
      .label_distances = label_distances,
      .add_moved_rows = add_moved_rows,
      .encode_candidates = encode_candidates,
      .closest_rows = closest_rows,
      .square_codes = square_codes,
      .chacha20 = chacha20,
      .judge_attempts = judge_attempts,
      .sample_rows = sample_rows,
  };
}
