#include "count.cuh"
#include "group_rows.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256;
// Blocks that count in shared memory touch every key once: they take many rows each.
constexpr int64_t most_shared_keys = 4096;
constexpr int block_rows = 8192;

__device__ __forceinline__ void count_in_shared(const int32_t* row_keys, int32_t begin, int32_t end,
                                                int32_t keys, int32_t* own) {
  for (int32_t key = threadIdx.x; key < keys; key += block_threads) own[key] = 0;
  __syncthreads();
  for (int32_t row = begin + threadIdx.x; row < end; row += block_threads) {
    if (row_keys[row] >= 0) atomicAdd(own + row_keys[row], 1);
  }
  __syncthreads();
}

__global__ void __launch_bounds__(block_threads)
    count_few_keys(const int32_t* row_keys, int32_t n, int32_t keys, int32_t* counts) {
  int32_t* own = dynamic_shared<int32_t>();
  const int32_t begin = static_cast<int32_t>(blockIdx.x) * block_rows;
  count_in_shared(row_keys, begin, min(begin + block_rows, n), keys, own);
  for (int32_t key = threadIdx.x; key < keys; key += block_threads) {
    if (own[key]) atomicAdd(counts + key, own[key]);
  }
}

__global__ void __launch_bounds__(block_threads)
    count_keys(const int32_t* row_keys, int32_t n, int32_t* counts) {
  const int32_t row = static_cast<int32_t>(blockIdx.x) * block_threads + threadIdx.x;
  add_one(counts, row < n ? row_keys[row] : -1);
}

// ends[key] = where its range starts, for now. Warps take ranges for their 32 keys as they come.
__global__ void __launch_bounds__(block_threads)
    lay_out_keys(const int32_t* counts, int64_t keys, int32_t* ends, int32_t* used) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t key = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  const int32_t count = key < keys ? counts[key] : 0;
  int32_t through = count;  // this key and those of the lanes before
  for (int step = 1; step < 32; step *= 2) {
    const int32_t before = __shfl_up_sync(whole_warp, through, step);
    if (lane >= step) through += before;
  }
  int32_t start = 0;
  if (lane == 31 && through > 0) start = atomicAdd(used, through);
  start = __shfl_sync(whole_warp, start, 31);
  if (key < keys) ends[key] = start + through - count;
}

__global__ void __launch_bounds__(block_threads)
    place_few_keys(const int32_t* row_keys, int32_t n, int32_t keys, int32_t* ends,
                   int32_t* order) {
  int32_t* own = dynamic_shared<int32_t>();
  const int32_t begin = static_cast<int32_t>(blockIdx.x) * block_rows;
  const int32_t end = min(begin + block_rows, n);
  count_in_shared(row_keys, begin, end, keys, own);
  for (int32_t key = threadIdx.x; key < keys; key += block_threads) {
    if (own[key]) own[key] = atomicAdd(ends + key, own[key]);
  }
  __syncthreads();
  for (int32_t row = begin + threadIdx.x; row < end; row += block_threads) {
    if (row_keys[row] >= 0) order[atomicAdd(own + row_keys[row], 1)] = row;
  }
}

__global__ void __launch_bounds__(block_threads)
    place_keys(const int32_t* row_keys, int32_t n, int32_t* ends, int32_t* order) {
  const int32_t row = static_cast<int32_t>(blockIdx.x) * block_threads + threadIdx.x;
  const int32_t key = row < n ? row_keys[row] : -1;
  const int32_t place = add_one(ends, key);
  if (key >= 0) order[place] = row;
}

}  // namespace

RowGrouping::RowGrouping(int64_t n, int64_t keys, const Execution& execution)
    : order_(std::min(n, most_grouped_rows()), stream_of(execution)),
      counts_(keys, stream_of(execution)),
      ends_(keys, stream_of(execution)),
      used_(1, stream_of(execution)) {}

RowGroups RowGrouping::group(const int32_t* row_keys, int64_t n, const Execution& execution) {
  const int64_t keys = counts_.size();
  counts_.clear();
  used_.clear();
  const Grid3 all_keys{divide_up(keys, block_threads)}, all_rows{divide_up(n, block_threads)};
  const Grid3 row_blocks{divide_up(n, block_rows)};
  if (keys <= most_shared_keys) {
    const auto shared_bytes = static_cast<size_t>(keys) * sizeof(int32_t);
    launch(count_few_keys, row_blocks, block_threads, shared_bytes, execution, row_keys, n, keys,
           counts_.data());
    launch(lay_out_keys, all_keys, block_threads, 0, execution, counts_.data(), keys, ends_.data(),
           used_.data());
    launch(place_few_keys, row_blocks, block_threads, shared_bytes, execution, row_keys, n, keys,
           ends_.data(), order_.data());
  } else {
    launch(count_keys, all_rows, block_threads, 0, execution, row_keys, n, counts_.data());
    launch(lay_out_keys, all_keys, block_threads, 0, execution, counts_.data(), keys, ends_.data(),
           used_.data());
    launch(place_keys, all_rows, block_threads, 0, execution, row_keys, n, ends_.data(),
           order_.data());
  }
  return groups();
}

}  // namespace cloister
