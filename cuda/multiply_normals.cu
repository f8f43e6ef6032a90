// Normals times factors, register-blocked: the part of a mixture's rows that has a rank.
#include "sample_mixture.cuh"

namespace cloister {
namespace {

constexpr int block_threads = 256;
constexpr int tile_columns = 64, slab = 16;   // of a block that multiplies
constexpr int own_rows = 8, own_columns = 4;  // of a thread of it
static_assert(block_threads == tile_rows / own_rows * (tile_columns / own_columns));

// normals[t * places + p] = z_t of the row in place p, t < rank.
__global__ void __launch_bounds__(block_threads)
    fill_normals(Sampling task, Places places, float* normals) {
  const int64_t place = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (place >= places.count) return;
  const int64_t row = row_at(places, place);
  for (int64_t t = 4 * int64_t{blockIdx.y}; t < task.rank; t += 4 * int64_t{gridDim.y}) {
    float4 z = make_float4(0, 0, 0, 0);
    if (row >= 0) {
      z = normal_block(static_cast<uint64_t>(task.first_row + row), static_cast<uint32_t>(t / 4),
                       task.keys);
    }
    const float own[4] = {z.x, z.y, z.z, z.w};
    for (int c = 0; c < 4 && t + c < task.rank; ++c)
      normals[(t + c) * places.count + place] = own[c];
  }
}

// The part of normals and factors that a block multiplies next.
struct Slab {
  alignas(16) float normals[slab][tile_rows];
  alignas(16) float factors[slab][tile_columns];
};

// Returns whether a factor that this thread copied is not zero.
__device__ __forceinline__ bool fill_slab(Slab& out, const Sampling& task, const Places& places,
                                          const float* normals, const float* factors, int64_t first,
                                          int64_t place, int64_t column) {
  const int thread = static_cast<int>(threadIdx.x);
  constexpr int quads = tile_rows / 4;
#pragma unroll
  for (int i = thread; i < slab * quads; i += block_threads) {
    const int64_t t = first + i / quads;
    float4 four = make_float4(0, 0, 0, 0);
    if (t < task.rank) {
      four = *reinterpret_cast<const float4*>(normals + t * places.count + place + 4 * (i % quads));
    }
    *reinterpret_cast<float4*>(&out.normals[i / quads][4 * (i % quads)]) = four;
  }
  bool any = false;
#pragma unroll
  for (int i = thread; i < slab * tile_columns; i += block_threads) {
    const int64_t t = first + i / tile_columns, j = column + i % tile_columns;
    const float factor = t < task.rank && j < task.d ? factors[t * task.d + j] : 0.0f;
    out.factors[i / tile_columns][i % tile_columns] = factor;
    any |= factor != 0.0f;
  }
  return any;
}

// sums += the slab's products, t in order.
__device__ __forceinline__ void multiply_slab(const Slab& slab_of, int64_t steps, int row,
                                              int column, float (&sums)[own_rows][own_columns]) {
#pragma unroll 4
  for (int t = 0; t < steps; ++t) {
    const float4 low = *reinterpret_cast<const float4*>(&slab_of.normals[t][row]);
    const float4 high = *reinterpret_cast<const float4*>(&slab_of.normals[t][row + 4]);
    const float4 four = *reinterpret_cast<const float4*>(&slab_of.factors[t][column]);
    const float z[own_rows] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    const float factor[own_columns] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int r = 0; r < own_rows; ++r) {
#pragma unroll
      for (int c = 0; c < own_columns; ++c) sums[r][c] = __fmaf_rn(z[r], factor[c], sums[r][c]);
    }
  }
}

// Slabs of zero factors, half of a Cholesky factor's, are left out: that changes the sign of
// a zero at most, which `around` drops.
__global__ void __launch_bounds__(block_threads)
    multiply(Sampling task, Places places, const float* normals, const int32_t* components,
             float* out) {
  __shared__ Slab shared;
  const int64_t column_tiles = (task.d + tile_columns - 1) / tile_columns;
  const int64_t place = blockIdx.x / column_tiles * tile_rows;
  const int64_t column = blockIdx.x % column_tiles * tile_columns;
  const int64_t any_row = row_at(places, place);
  if (any_row < 0) return;  // the places of a tile are filled from its start
  const int64_t covariance = task.covariance_of[components[any_row]];
  const float* factors = task.factors + covariance * task.rank * task.d;
  constexpr int across = tile_columns / own_columns;
  const int own_row = static_cast<int>(threadIdx.x) / across * own_rows;
  const int own_column = static_cast<int>(threadIdx.x) % across * own_columns;
  float sums[own_rows][own_columns] = {};
  for (int64_t first = 0; first < task.rank; first += slab) {
    __syncthreads();
    const bool any = fill_slab(shared, task, places, normals, factors, first, place, column);
    if (!__syncthreads_or(any)) continue;
    const int64_t steps = min(int64_t{slab}, task.rank - first);
    multiply_slab(shared, steps, own_row, own_column, sums);
  }
  const int64_t j = column + own_column;
  for (int r = 0; r < own_rows; ++r) {
    const int64_t row = row_at(places, place + own_row + r);
    if (row < 0 || j >= task.d) continue;
    if (!task.scales) {
      const float* mean = task.means + components[row] * task.d + j;
      for (int c = 0; c < own_columns && j + c < task.d; ++c) {
        sums[r][c] = around(mean[c], sums[r][c]);
      }
    }
    float* own = out + row * task.d + j;
    if (task.has_quads) {
      store_quad(own, sums[r]);
    } else {
      for (int c = 0; c < own_columns && j + c < task.d; ++c) own[c] = sums[r][c];
    }
  }
}

}  // namespace

void multiply_normals(const Sampling& task, const Places& places, float* normals,
                      const int32_t* components, float* out, const Execution& execution) {
  launch(fill_normals,
         {divide_up(places.count, block_threads), std::min<int64_t>(divide_up(task.rank, 4), 1024)},
         block_threads, 0, execution, task, places, normals);
  launch(multiply, {places.count / tile_rows * divide_up(task.d, tile_columns)}, block_threads, 0,
         execution, task, places, normals, components, out);
}

}  // namespace cloister
