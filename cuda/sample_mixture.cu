// Rows of a Gaussian mixture: normals times factors for the rows of a covariance together, then
// scales and means.
#include "prefix_sums.hpp"
#include "sample_mixture.cuh"

namespace cloister {
namespace {

constexpr int block_threads = 256;

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

// What a row has from column 0 on; columns of the normals' blocks may start before.
struct FinishedRow {
  uint64_t number;
  const float* means;
  const float* scales;
  float* out;
};

// The four columns from j on, whose normals are those of a block: out = mean + (out + scale z),
// from zero where nothing was multiplied.
template <bool has_quads>
__device__ __forceinline__ void finish_quad(const Sampling& task, const FinishedRow& row,
                                            uint32_t block, int64_t j) {
  const bool adds = task.rank > 0;
  const float4 z = normal_block(row.number, block, task.keys);
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

// A thread takes some of the quads of columns of a row, each of one block of normals; 2^column_bits
// threads take a row.
template <bool has_quads>
__global__ void __launch_bounds__(block_threads)
    finish_rows(Sampling task, int64_t n, int column_bits, const int32_t* components, float* out) {
  const int64_t row = (int64_t{blockIdx.x} * block_threads + threadIdx.x) >> column_bits;
  if (row >= n) return;
  const int64_t component = components[row];
  const FinishedRow own{static_cast<uint64_t>(task.first_row + row),
                        task.means + component * task.d,
                        task.scales + task.covariance_of[component] * task.d, out + row * task.d};
  const uint32_t lane = threadIdx.x & ((1u << column_bits) - 1);
  uint32_t block = static_cast<uint32_t>(task.rank / 4) + lane;
  const int64_t stride = int64_t{4} << column_bits;
  for (int64_t j = 4 * int64_t{lane} - task.rank % 4; j < task.d; j += stride) {
    finish_quad<has_quads>(task, own, block, j);
    block += 1u << column_bits;
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

// Rows of one step: some milliseconds, and a few tiles of each covariance if their normals leave
// room for that.
int64_t rows_of_step(int64_t d, int64_t rank, int64_t covariances) {
  const int64_t row_bytes = (rank + d) * int64_t{sizeof(float)};
  const int64_t most = std::max<int64_t>(1, step_work(int64_t{1} << 33) / row_bytes);
  if (rank == 0) return most;
  const int64_t usual = most / 8, wanted = 4 * tile_rows * covariances;
  return std::max<int64_t>(4 * tile_rows, std::min(std::max(usual, wanted), most));
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
      multiply_normals(task, placed, normals.data(), own, rows, execution);
    }
    if (task.scales) {
      auto* const finish = task.has_quads ? finish_rows<true> : finish_rows<false>;
      launch(finish, {divide_up(count, block_threads >> bits)}, block_threads, 0, execution, task,
             count, bits, own, rows);
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
