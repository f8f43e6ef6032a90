// What the columns of rows add up to and lie between.
#include <cstring>
#include <limits>

#include "instructions.cuh"
#include "runtime.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256;

// Integers in the order of the floats.
__device__ __forceinline__ uint32_t in_order(float value) {
  const uint32_t bits = __float_as_uint(value);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

float from_order(uint32_t key) {
  const uint32_t bits = key >> 31 ? key & 0x7FFFFFFFu : ~key;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Of all rows; the device's.
struct Ends {
  uint32_t* lowest;
  uint32_t* highest;
  int32_t* is_bad;
};

// A thread takes one column of range_rows rows; 2^column_bits threads stand side by side. Values
// are read a few rows before they are added, for the sum waits for each.
__global__ void __launch_bounds__(block_threads)
    add_ranges(const float* rows, int64_t n, int64_t d, int column_bits, double* sums, Ends ends) {
  constexpr int batch = 8;
  const int64_t column =
      (int64_t{blockIdx.y} << column_bits) + (threadIdx.x & ((1u << column_bits) - 1));
  const int64_t block =
      int64_t{blockIdx.x} * (block_threads >> column_bits) + (threadIdx.x >> column_bits);
  const int64_t begin = block * range_rows, end = min(begin + range_rows, n);
  if (column >= d || begin >= n) return;
  double sum = sums[block * d + column];
  uint32_t lowest = ~0u, highest = 0;
  bool is_bad = false;
  for (int64_t first = begin; first < end; first += batch) {
    float values[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) values[b] = rows[min(first + b, end - 1) * d + column];
#pragma unroll
    for (int b = 0; b < batch; ++b) {  // past the end: the last value again
      if (first + b < end) sum = __dadd_rn(sum, values[b]);
      lowest = min(lowest, in_order(values[b]));
      highest = max(highest, in_order(values[b]));
      is_bad |= (__float_as_uint(values[b]) & 0x7F800000u) == 0x7F800000u;
    }
  }
  sums[block * d + column] = sum;
  atomicMin(ends.lowest + column, lowest);
  atomicMax(ends.highest + column, highest);
  if (is_bad) atomicOr(ends.is_bad, 1);
}

}  // namespace

bool column_ranges(const float* rows, int64_t n, int64_t d, double* sums, float* lowest,
                   float* highest, Execution execution) {
  const auto stream = stream_of(execution);
  const int64_t blocks = divide_up(n, range_rows);
  const auto device_sums = uploaded(sums, blocks * d, execution);
  const Scratch<uint32_t> least(d, stream), most(d, stream);
  const Scratch<int32_t> is_bad(1, stream);
  check(cudaMemsetAsync(least.data(), 0xFF, static_cast<size_t>(d) * sizeof(uint32_t), stream));
  most.clear();
  is_bad.clear();
  int bits = 0;
  while (bits < 8 && (int64_t{1} << bits) < d) ++bits;
  const int64_t step =
      std::max<int64_t>(1, step_work(int64_t{1} << 32) / d / range_rows) * range_rows;
  Pace pace(execution);
  for (int64_t first = 0; first < n; first += step) {
    const int64_t count = std::min(step, n - first);
    launch(
        add_ranges,
        {divide_up(count, range_rows * (block_threads >> bits)), divide_up(d, int64_t{1} << bits)},
        block_threads, 0, execution, rows + first * d, count, d, bits,
        device_sums.data() + first / range_rows * d,
        Ends{least.data(), most.data(), is_bad.data()});
    pace.step();
  }
  const std::vector<double> totals = device_sums.download(execution);
  std::copy(totals.begin(), totals.end(), sums);
  const std::vector<uint32_t> low = least.download(execution), high = most.download(execution);
  const float largest = std::numeric_limits<float>::max();
  for (size_t t = 0; t < static_cast<size_t>(d); ++t) {
    lowest[t] = n ? from_order(low[t]) : largest;
    highest[t] = n ? from_order(high[t]) : -largest;
  }
  return is_bad.download(execution)[0] == 0;
}

}  // namespace cloister
