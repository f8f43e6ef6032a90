#include "instructions.cuh"
#include "prefix_sums.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 1024;

__device__ __forceinline__ int64_t rounded_up(int32_t size, int32_t step) {
  return (int64_t{size} + step - 1) / step * step;
}

// One block: there are at most as many groups as centres, and the sums of a pass over rows to wait
// for it.
__global__ void __launch_bounds__(block_threads)
    add_up(const int32_t* sizes, int64_t count, int32_t step, int64_t* starts) {
  __shared__ int64_t totals[block_threads];
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t share = (count + block_threads - 1) / block_threads;
  const int64_t begin = min(thread * share, count), end = min(begin + share, count);
  int64_t sum = 0;
  for (int64_t j = begin; j < end; ++j) sum += rounded_up(sizes[j], step);
  totals[thread] = sum;
  for (int reach = 1; reach < block_threads; reach *= 2) {
    __syncthreads();
    const int64_t before = thread >= reach ? totals[thread - reach] : 0;
    __syncthreads();
    totals[thread] += before;
  }
  int64_t start = totals[thread] - sum;
  for (int64_t j = begin; j < end; ++j) {
    starts[j] = start;
    start += rounded_up(sizes[j], step);
  }
  if (thread == block_threads - 1) starts[count] = totals[thread];
}

}  // namespace

void prefix_sums(const int32_t* sizes, int64_t count, int32_t step, int64_t* starts,
                 const Execution& execution) {
  launch(add_up, {1}, block_threads, 0, execution, sizes, count, step, starts);
}

}  // namespace cloister
