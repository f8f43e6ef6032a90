#include "screen.cuh"

namespace cloister {
namespace {

template <class Kind, class Shape>
void run_shape(const ScreenTask& task, const RowTile* tiles, int64_t tile_count, bool is_resident,
               const Execution& execution) {
  const int64_t slices = task.stride / slice_bytes;
  const size_t bytes = Shape::shared_bytes(slices, is_resident);
  allow_shared(screen_rows<Kind, Shape>);
  launch(screen_rows<Kind, Shape>, {tile_count * (screen_tile_rows / Shape::rows)}, Shape::threads,
         bytes, execution, task, tiles, slices, is_resident);
}

// Rows that stay in shared memory are read once, and 256 of them share what is read of a centre;
// where so many do not fit, half as many against twice the centres at a time, or else nothing
// stays.
template <class Kind>
void run(const ScreenTask& task, const RowTile* tiles, int64_t tile_count,
         const DeviceLimits& limits, const Execution& execution) {
  const int64_t slices = task.stride / slice_bytes;
  auto fits = [&](size_t bytes) { return static_cast<int64_t>(bytes) <= limits.shared_bytes; };
  using Tall = ScreenShape<4, 2>;
  using Wide = ScreenShape<2, 4>;
  if (fits(Tall::shared_bytes(slices, true))) {
    run_shape<Kind, Tall>(task, tiles, tile_count, true, execution);
  } else if (fits(Wide::shared_bytes(slices, true))) {
    run_shape<Kind, Wide>(task, tiles, tile_count, true, execution);
  } else {
    run_shape<Kind, Tall>(task, tiles, tile_count, false, execution);
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
