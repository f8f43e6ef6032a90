#include "residual.cuh"
#include "residual_planes.hpp"
#include "split.cuh"

namespace cloister {
namespace {

constexpr int block_threads = 256, side = static_cast<int>(places_of_tile);
constexpr int shared_pitch = side + 4;  // lanes that write a column of bytes meet different banks

// What the residuals of one row are made of; nothing for a place without a row.
struct RowParts {
  const int16_t *code = nullptr, *centre = nullptr;
  double factor = 0.0;
  int steps = 0;

  __device__ __forceinline__ RowParts(const ResidualPlanes& task, const PlaneTile& tile,
                                      int place) {
    if (place >= tile.rows) return;
    const int64_t position = tile.first + place;
    const int64_t row = task.order ? task.order[position] : position;
    code = task.codes + row * task.d;
    centre = task.centres + (task.cells ? task.cells[row] : 0) * task.d;
    factor = task.factors[row];
    steps = task.steps[row];
  }
  __device__ __forceinline__ int32_t residual(int64_t column) const {
    return after_steps(rounded_product(as_double(code[column] - centre[column]), factor), steps);
  }
};

__device__ __forceinline__ PlaneTile tile_of_block(const ResidualPlanes& task) {
  if (task.tiles) return task.tiles[blockIdx.x];
  const int64_t first = int64_t{blockIdx.x} * side;
  return {static_cast<int32_t>(first), static_cast<int32_t>(min(task.rows - first, int64_t{side}))};
}

// A block turns 64 rows by 64 columns round.
__global__ void __launch_bounds__(block_threads) write_planes(ResidualPlanes task) {
  __align__(16) __shared__ int8_t turned[planes][side][shared_pitch];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const PlaneTile tile = tile_of_block(task);
  const int64_t first_place = int64_t{blockIdx.x} * side, first_column = int64_t{blockIdx.y} * side;

  for (int place = warp; place < side; place += block_threads / 32) {
    const RowParts row(task, tile, place);
    for (int column = lane; column < side; column += 32) {
      const bool wanted = row.code && first_column + column < task.d;
      const Split split(wanted ? row.residual(first_column + column) : 0);
      for (int p = 0; p < planes; ++p) turned[p][column][place] = split.plane(p);
      if (task.by_row) {
        int8_t* out = task.by_row + (first_place + place) * task.padded_d + first_column + column;
        out[0] = split.plane(0);
        out[task.pitch * task.padded_d] = split.plane(2);
      }
    }
  }
  __syncthreads();
  for (int word = threadIdx.x; word < planes * side * side / 4; word += block_threads) {
    const int p = word / (side * side / 4), column = word / (side / 4) % side;
    const int place = word % (side / 4) * 4;
    if (first_column + column >= task.d) continue;
    int8_t* out = task.by_column + (p * task.d + first_column + column) * task.pitch;
    *reinterpret_cast<uint32_t*>(out + first_place + place) =
        *reinterpret_cast<const uint32_t*>(&turned[p][column][place]);
  }
}

}  // namespace

void write_residual_planes(const ResidualPlanes& task, int64_t tiles, const Execution& execution) {
  launch(write_planes, {tiles, divide_up(task.d, side)}, block_threads, 0, execution, task);
}

}  // namespace cloister
