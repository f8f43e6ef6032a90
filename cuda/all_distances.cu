// Distances of rows to all centres, in chains that start anew every 256 coordinates.
#include "instructions.cuh"
#include "runtime.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256;
constexpr int tile = 64, slab = 32, own = 4;  // a thread has own^2 pairs of the block's tile^2
constexpr int stride = tile + 4;              // keeps quads aligned and spreads rows over banks
constexpr int64_t chain_length = 256;
static_assert(chain_length % slab == 0 && block_threads * own * own == tile * tile);

struct Distances {
  const float* rows;
  int64_t n, d;
  const float* shift;  // not null
  const float* centres;
  int64_t k;
};

struct Slabs {
  alignas(16) float rows[slab][stride];
  alignas(16) float centres[slab][stride];
};

// Coordinates first .. of the block's rows and centres, zeros past the end: differences of zeros
// add nothing to a chain.
__device__ __forceinline__ void fill_slabs(Slabs& out, const Distances& task, int64_t first_row,
                                           int64_t first_centre, int64_t first) {
  for (int i = static_cast<int>(threadIdx.x); i < slab * tile; i += block_threads) {
    const int place = i / slab;
    const int64_t t = first + i % slab;
    const int64_t row = first_row + place, centre = first_centre + place;
    float x = 0, c = 0;
    if (t < task.d) {
      if (row < task.n) x = __fsub_rn(task.rows[row * task.d + t], task.shift[t]);
      if (centre < task.k) c = task.centres[centre * task.d + t];
    }
    out.rows[i % slab][place] = x;
    out.centres[i % slab][place] = c;
  }
}

using Sums = float[own][own];

__device__ __forceinline__ void add_squares(const Slabs& slabs, int row, int centre, Sums& chains) {
#pragma unroll 8
  for (int t = 0; t < slab; ++t) {
    const float4 a = *reinterpret_cast<const float4*>(&slabs.rows[t][row]);
    const float4 b = *reinterpret_cast<const float4*>(&slabs.centres[t][centre]);
    const float x[own] = {a.x, a.y, a.z, a.w}, c[own] = {b.x, b.y, b.z, b.w};
#pragma unroll
    for (int r = 0; r < own; ++r) {
#pragma unroll
      for (int j = 0; j < own; ++j) {
        const float difference = __fsub_rn(x[r], c[j]);
        chains[r][j] = __fmaf_rn(difference, difference, chains[r][j]);
      }
    }
  }
}

__device__ __forceinline__ void end_chains(Sums& chains, Sums& totals) {
#pragma unroll
  for (int r = 0; r < own; ++r) {
#pragma unroll
    for (int j = 0; j < own; ++j) {
      totals[r][j] = __fadd_rn(totals[r][j], chains[r][j]);
      chains[r][j] = 0;
    }
  }
}

// Blocks of the same rows follow each other, while those are in the cache.
__global__ void __launch_bounds__(block_threads) measure_tile(Distances task, float* out) {
  __shared__ Slabs slabs;
  const int64_t centre_tiles = (task.k + tile - 1) / tile;
  const int64_t first_row = blockIdx.x / centre_tiles * tile;
  const int64_t first_centre = blockIdx.x % centre_tiles * tile;
  const int own_row = static_cast<int>(threadIdx.x) / (tile / own) * own;
  const int own_centre = static_cast<int>(threadIdx.x) % (tile / own) * own;
  Sums chains = {}, totals = {};
  for (int64_t first = 0; first < task.d; first += slab) {
    if (first > 0 && first % chain_length == 0) end_chains(chains, totals);
    __syncthreads();
    fill_slabs(slabs, task, first_row, first_centre, first);
    __syncthreads();
    add_squares(slabs, own_row, own_centre, chains);
  }
  end_chains(chains, totals);
  for (int r = 0; r < own; ++r) {
    const int64_t row = first_row + own_row + r;
    for (int j = 0; j < own; ++j) {
      const int64_t centre = first_centre + own_centre + j;
      if (row < task.n && centre < task.k) out[row * task.k + centre] = totals[r][j];
    }
  }
}

}  // namespace

void all_distances(const float* rows, int64_t n, int64_t d, const float* shift,
                   const float* centres, int64_t k, float* out, Execution execution) {
  const Scratch<float> device_shift(d, stream_of(execution));
  if (shift) {
    device_shift.upload(shift);
  } else {
    device_shift.clear();
  }
  const auto device_centres = uploaded(centres, k * d, execution);
  const int64_t step =
      divide_up(std::max<int64_t>(1, step_work(int64_t{1} << 38) / d / k), tile) * tile;
  Pace pace(execution);
  for (int64_t first = 0; first < n; first += step) {
    const Distances task{rows + first * d,    std::min(step, n - first), d,
                         device_shift.data(), device_centres.data(),     k};
    launch(measure_tile, {divide_up(task.n, tile) * divide_up(k, tile)}, block_threads, 0,
           execution, task, out + first * k);
    pace.step();
  }
  wait(execution);
}

}  // namespace cloister
