#include "screen.cuh"

namespace cloister {
namespace {

template <class Kind, int row_warps>
void run_shape(const ScreenTask& task, const RowTile* tiles, int64_t tile_count, bool is_resident,
               const Execution& execution) {
  using Shape = ScreenShape<row_warps>;
  const int64_t slices = task.stride / slice_bytes;
  const size_t bytes = Shape::shared_bytes(slices, is_resident);
  allow_shared(screen_rows<Kind, row_warps>, bytes);
  launch(screen_rows<Kind, row_warps>, {tile_count * (screen_tile_rows / Shape::rows)},
         Shape::threads, bytes, execution, task, tiles, slices, is_resident);
}

// Rows that stay in shared memory are read once, and 256 of them share what is read of a centre;
// where so many do not fit, half as many against twice the centres at a time, or else nothing
// stays.
template <class Kind>
void run(const ScreenTask& task, const RowTile* tiles, int64_t tile_count,
         const DeviceLimits& limits, const Execution& execution) {
  const int64_t slices = task.stride / slice_bytes;
  auto fits = [&](size_t bytes) { return static_cast<int64_t>(bytes) <= limits.shared_bytes; };
  if (fits(ScreenShape<4>::shared_bytes(slices, true))) {
    run_shape<Kind, 4>(task, tiles, tile_count, true, execution);
  } else if (fits(ScreenShape<2>::shared_bytes(slices, true))) {
    run_shape<Kind, 2>(task, tiles, tile_count, true, execution);
  } else {
    run_shape<Kind, 4>(task, tiles, tile_count, false, execution);
  }
}

}  // namespace

void screen(Products products, const ScreenTask& task, const RowTile* tiles, int64_t tile_count,
            const DeviceLimits& limits, const Execution& execution) {
  if (products == Products::int8) {
    run<Int8Products>(task, tiles, tile_count, limits, execution);
  } else {
    run<Float16Products>(task, tiles, tile_count, limits, execution);
  }
}

}  // namespace cloister
