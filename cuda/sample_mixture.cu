// Rows of a Gaussian mixture: normals times factors for the rows of a covariance together, then
// scales and means.
#include <limits>

#include "normal.cuh"
#include "prefix_sums.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256;
constexpr int tile_rows = 128, tile_columns = 64, slab = 16;  // of a block that multiplies
constexpr int own_rows = 8, own_columns = 4;                  // of a thread of it
static_assert(block_threads == tile_rows / own_rows * (tile_columns / own_columns));

// All pointers are the device's.
struct Sampling {
  PhiloxKeys keys;
  int64_t first_row, d, rank;
  const float* means;
  const float* factors;
  const float* scales;
  const int64_t* covariance_of;
  bool has_quads;  // four columns make an aligned store of 16 bytes, and one block of normals
};

// What a call works on: rows in places of their own, those of a covariance together from a multiple
// of tile_rows on. order[p] is the row in place p, -1: none; null: every row keeps its place.
struct Places {
  const int32_t* order;
  int64_t count, rows;
};

__device__ __forceinline__ int64_t row_at(const Places& places, int64_t place) {
  if (!places.order) return place < places.rows ? place : -1;
  return places.order[place];
}

__global__ void __launch_bounds__(block_threads)
    find_largest(const int32_t* values, int64_t n, int32_t* largest) {
  int32_t found = 0;
  for (int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x; i < n;
       i += int64_t{gridDim.x} * block_threads) {
    found = max(found, values[i]);
  }
  found = __reduce_max_sync(whole_warp, found);
  if (threadIdx.x % 32 == 0) atomicMax(largest, found);
}

__global__ void __launch_bounds__(block_threads)
    count_rows(const int32_t* components, int64_t n, const int64_t* covariance_of, int32_t* sizes) {
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (i < n) atomicAdd(sizes + covariance_of[components[i]], 1);
}

// Gives rows their places, in whatever order: no row depends on its company.
__global__ void __launch_bounds__(block_threads)
    place_rows(const int32_t* components, int64_t n, const int64_t* covariance_of,
               const int64_t* starts, int32_t* left, int32_t* order) {
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (i >= n) return;
  const int64_t covariance = covariance_of[components[i]];
  order[starts[covariance] + atomicAdd(left + covariance, -1) - 1] = static_cast<int32_t>(i);
}

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

// mean + deviation, of which -0 counts as +0.
__device__ __forceinline__ float around(float mean, float deviation) {
  return __fadd_rn(mean, __fadd_rn(deviation, 0.0f));
}

__device__ __forceinline__ void store_quad(float* out, const float (&values)[4]) {
  *reinterpret_cast<float4*>(out) = make_float4(values[0], values[1], values[2], values[3]);
}

// Normals times factors, to which finish_rows adds if there are scales; else the means are added
// here. Slabs of zero factors, half of a Cholesky factor's, are left out: that changes the sign of
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

// What a row has from column 0 on; columns of the normals' blocks may start before.
struct FinishedRow {
  uint64_t number;
  const float* means;
  const float* scales;
  float* out;
};

// The four columns from j on: out = mean + (out + scale z), from zero where nothing was multiplied.
template <bool has_quads>
__device__ __forceinline__ void finish_quad(const Sampling& task, const FinishedRow& row,
                                            int64_t j) {
  const bool adds = task.rank > 0;
  const float4 z = normal_block(row.number, static_cast<uint32_t>((j + task.rank) / 4), task.keys);
  float* out = row.out + j;
  if (has_quads) {
    const float4 scale = *reinterpret_cast<const float4*>(row.scales + j);
    const float4 mean = *reinterpret_cast<const float4*>(row.means + j);
    const float4 sum = adds ? *reinterpret_cast<const float4*>(out) : make_float4(0, 0, 0, 0);
    store_quad(out, {around(mean.x, __fmaf_rn(z.x, scale.x, sum.x)),
                     around(mean.y, __fmaf_rn(z.y, scale.y, sum.y)),
                     around(mean.z, __fmaf_rn(z.z, scale.z, sum.z)),
                     around(mean.w, __fmaf_rn(z.w, scale.w, sum.w))});
    return;
  }
  const float own[4] = {z.x, z.y, z.z, z.w};
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (j + c < 0 || j + c >= task.d) continue;
    const float deviation = __fmaf_rn(own[c], row.scales[j + c], adds ? out[c] : 0.0f);
    out[c] = around(row.means[j + c], deviation);
  }
}

// A thread takes some of the quads of columns, each of one block of normals, of rows that are
// `stride` apart; 2^column_bits threads take a row.
constexpr int rows_of_thread = 8;
template <bool has_quads>
__global__ void __launch_bounds__(block_threads)
    finish_rows(Sampling task, int64_t n, int column_bits, const int32_t* components, float* out) {
  const int stride = block_threads >> column_bits;
  const int64_t begin = int64_t{blockIdx.x} * rows_of_thread * stride;
  const int64_t end = min(begin + rows_of_thread * stride, n);
  const int64_t first = 4 * int64_t{threadIdx.x & ((1u << column_bits) - 1)} - task.rank % 4;
  for (int64_t row = begin + (threadIdx.x >> column_bits); row < end; row += stride) {
    const int64_t component = components[row];
    const FinishedRow own{static_cast<uint64_t>(task.first_row + row),
                          task.means + component * task.d,
                          task.scales + task.covariance_of[component] * task.d, out + row * task.d};
    for (int64_t j = first; j < task.d; j += int64_t{4} << column_bits) {
      finish_quad<has_quads>(task, own, j);
    }
  }
}

// Groups the rows by covariance. Without sizes there is one covariance.
struct Grouping {
  Scratch<int32_t> sizes, order;
  Scratch<int64_t> starts;

  Places group(const Sampling& task, int64_t n, const int32_t* components,
               const Execution& execution) const {
    if (!sizes.size()) return {nullptr, divide_up(n, tile_rows) * tile_rows, n};
    const Grid3 grid{divide_up(n, block_threads)};
    sizes.clear();
    check(cudaMemsetAsync(order.data(), 0xFF, static_cast<size_t>(order.size()) * sizeof(int32_t),
                          stream_of(execution)));
    launch(count_rows, grid, block_threads, 0, execution, components, n, task.covariance_of,
           sizes.data());
    prefix_sums(sizes.data(), sizes.size(), tile_rows, starts.data(), execution);
    launch(place_rows, grid, block_threads, 0, execution, components, n, task.covariance_of,
           starts.data(), sizes.data(), order.data());
    return {order.data(), order.size(), n};
  }
};

// Rows of one step: many of each covariance, and few enough for their normals, and for one
// covariance also what is written, to stay in the cache.
int64_t rows_of_step(int64_t d, int64_t rank, int64_t covariances) {
  const int64_t row_bytes = (rank > 0 ? rank + d : d) * int64_t{sizeof(float)};
  if (rank == 0) return std::max<int64_t>(1, (int64_t{1} << 33) / row_bytes);
  const int64_t cached = device_limits().cache_bytes / 2 / row_bytes;
  const int64_t grouped = covariances > 1 ? 8 * tile_rows * covariances : 8 * tile_rows;
  const int64_t most = std::max<int64_t>(1, (int64_t{1} << 31) / row_bytes);
  return std::clamp<int64_t>(std::max(cached, grouped), 1, std::max<int64_t>(tile_rows, most));
}

int bits_of_row(int64_t d) {
  int bits = 0;
  while (bits < 5 && (int64_t{4} << bits) < d) ++bits;
  return bits;
}

void sample_steps(Sampling task, int64_t n, int64_t covariances, const int32_t* components,
                  float* out, const Execution& execution) {
  const auto stream = stream_of(execution);
  const int64_t d = task.d, rank = task.rank;
  const int64_t first_row = task.first_row;
  const int64_t step = std::min(n, rows_of_step(d, rank, covariances));
  const bool groups = rank > 0 && covariances > 1;
  int64_t places = divide_up(step, tile_rows) * tile_rows;
  if (groups) places += (std::min(covariances, step) - 1) * tile_rows;
  const Grouping grouping{Scratch<int32_t>(groups ? covariances : 0, stream),
                          Scratch<int32_t>(groups ? places : 0, stream),
                          Scratch<int64_t>(groups ? covariances + 1 : 0, stream)};
  const Scratch<float> normals(rank * places, stream);
  const int bits = bits_of_row(d);
  Pace pace(execution);
  for (int64_t first = 0; first < n; first += step) {
    const int64_t count = std::min(step, n - first);
    task.first_row = first_row + first;
    const int32_t* own = components + first;
    float* rows = out + first * d;
    if (rank > 0) {
      const Places placed = grouping.group(task, count, own, execution);
      launch(fill_normals,
             {divide_up(placed.count, block_threads), std::min<int64_t>(divide_up(rank, 4), 1024)},
             block_threads, 0, execution, task, placed, normals.data());
      launch(multiply, {placed.count / tile_rows * divide_up(d, tile_columns)}, block_threads, 0,
             execution, task, placed, normals.data(), own, rows);
    }
    if (task.scales) {
      auto* const finish = task.has_quads ? finish_rows<true> : finish_rows<false>;
      launch(finish, {divide_up(count, rows_of_thread * (block_threads >> bits))}, block_threads, 0,
             execution, task, count, bits, own, rows);
    }
    pace.step();
  }
  wait(execution);
}

}  // namespace

void sample_mixture(uint64_t seed, int64_t first_row, int64_t n, int64_t d, Mixture mixture,
                    const int32_t* components, float* out, Execution execution) {
  if (n == 0) return;
  // The components and covariances that occur: nobody has said how many there are.
  const Scratch<int32_t> largest(1, stream_of(execution));
  largest.clear();
  launch(find_largest, {std::min<int64_t>(divide_up(n, block_threads), 1024)}, block_threads, 0,
         execution, components, n, largest.data());
  const int64_t used = largest.download(execution)[0] + int64_t{1};
  const int64_t covariances =
      *std::max_element(mixture.covariance_of, mixture.covariance_of + used) + 1;
  const auto means = uploaded(mixture.means, used * d, execution);
  const auto factors = uploaded(mixture.factors, covariances * mixture.rank * d, execution);
  auto scales = uploaded(mixture.scales, covariances * d, execution);
  if (!mixture.scales && mixture.rank == 0) {  // rows are means: z times zero
    scales = Scratch<float>(covariances * d, stream_of(execution));
    scales.clear();
  }
  const auto covariance_of = uploaded(mixture.covariance_of, used, execution);
  const bool is_aligned = reinterpret_cast<std::uintptr_t>(out) % sizeof(float4) == 0;
  const Sampling task{PhiloxKeys(seed),
                      first_row,
                      d,
                      mixture.rank,
                      means.data(),
                      factors.data(),
                      scales.data(),
                      covariance_of.data(),
                      is_aligned && d % 4 == 0 && mixture.rank % 4 == 0};
  sample_steps(task, n, covariances, components, out, execution);
}

}  // namespace cloister
