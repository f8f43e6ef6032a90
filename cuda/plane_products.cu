#include "plane_products.hpp"
#include "plane_tile.cuh"

namespace cloister {
namespace {

struct TilePlace {
  int row, column;
};

// The tiles of the upper triangle, or all, one after the other by rows.
__device__ __forceinline__ TilePlace place_of_tile(const PlaneProducts& task, int number) {
  const int across = static_cast<int>((task.columns + product_side - 1) / product_side);
  int row = 0;
  if (task.triangle) {
    for (; number >= across - row; ++row) number -= across - row;
    number += row;
  } else {
    row = number / across;
    number %= across;
  }
  return {row * product_side, number * product_side};
}

__device__ __forceinline__ void add_tile_sums(const PlaneProducts& task, const TilePlace& tile,
                                              const TileSums& sums) {
  const int64_t entries =
      task.triangle ? task.columns * (task.columns + 1) / 2 : task.rows * task.columns;
  unsigned long long* out = task.out + task.slices[blockIdx.y].out * entries;
  const long long weight = blockIdx.z == 0   ? high_weight
                           : blockIdx.z == 1 ? sum_weight
                                             : low_weight;
  sums.for_each([&](int i, int j, int32_t sum) {
    const int64_t row = tile.row + i, column = tile.column + j;
    if (row >= task.rows || column >= task.columns || sum == 0) return;
    if (task.triangle && row > column) return;
    const int64_t start = row * task.columns - (task.triangle ? row * (row + 1) / 2 : 0);
    atomicAdd(out + start + column, static_cast<unsigned long long>(weight * sum));
  });
}

// One block for each tile, slice and plane.
__global__ void __launch_bounds__(product_threads, 2) add_tiles(PlaneProducts task) {
  const TilePlace tile = place_of_tile(task, static_cast<int>(blockIdx.x));
  const PlaneSlice slice = task.slices[blockIdx.y];
  const int plane = static_cast<int>(blockIdx.z);
  const ByteMatrix left{task.left + plane * task.rows * task.pitch, task.rows, task.pitch};
  const ByteMatrix right{task.right + plane * task.columns * task.pitch, task.columns, task.pitch};
  const PlaneTileProduct product(task.rows, tile.row, task.columns, tile.column,
                                 dynamic_shared<int8_t>());
  TileSums sums = {};
  product.add(left, right, slice.begin, min(int64_t{slice.end}, task.used), sums);

  // Found anew: registers are short.
  add_tile_sums(task, place_of_tile(task, static_cast<int>(blockIdx.x)), sums);
}

int64_t tile_count(int64_t rows, int64_t columns, bool triangle) {
  const int64_t down = divide_up(rows, product_side), across = divide_up(columns, product_side);
  return triangle ? across * (across + 1) / 2 : down * across;
}

}  // namespace

void add_plane_products(const PlaneProducts& task, int64_t slices, const Execution& execution) {
  allow_shared(add_tiles);
  launch(add_tiles, {tile_count(task.rows, task.columns, task.triangle), slices, planes},
         product_threads, product_shared_bytes, execution, task);
}

int64_t slices_at_once(int64_t rows, int64_t columns, bool triangle) {
  const int64_t blocks = 2 * device_limits().processors;
  return divide_up(blocks, planes * tile_count(rows, columns, triangle));
}

}  // namespace cloister
