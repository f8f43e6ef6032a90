// D of `nearest` in kernels.hpp by a warp, whose lanes are the 32 of the definition.
#pragma once

#include "instructions.cuh"
#include "runtime.hpp"

namespace cloister {

// A warp measures this many rows and centres at a time: what it loads it uses eight times.
constexpr int pair_rows = 8, pair_centres = 8, pairs = pair_rows * pair_centres;

// Folds the chains of all pairs by halves: each step hands half of the pairs to the other half of
// the lanes, so lane l is left with pairs 2 l and 2 l + 1. A sum does not depend on its order.
template <int half = 16>
__device__ __forceinline__ void fold_pairs(float (&sums)[pairs], int lane) {
  constexpr int kept = 2 * half;
  const bool is_upper = lane & half;
#pragma unroll
  for (int p = 0; p < kept; ++p) {
    const float given = is_upper ? sums[p] : sums[p + kept];
    const float own = is_upper ? sums[p + kept] : sums[p];
    sums[p] = __fadd_rn(own, __shfl_xor_sync(whole_warp, given, half));
  }
  if constexpr (half > 1) fold_pairs<half / 2>(sums, lane);
}

// Centres as eight of them are read together: step s of group g, coordinates 32 s on of centres 8 g
// on, is a block of numbers, one centre after the other; zeros past the end of both.
constexpr int step_numbers = pair_centres * 32;
inline int64_t lane_steps(int64_t d) { return (d + 31) / 32; }
__device__ __forceinline__ int64_t packed_place(int64_t group, int64_t steps, int64_t step) {
  return (group * steps + step) * step_numbers;
}
Scratch<float> packed_centres(const float* centres, int64_t k, int64_t d,
                              const Execution& execution);

// Eight rows that lie in the same layout, and how a lane reads them step by step.
struct PackedRows {
  const float* at;

  __device__ __forceinline__ void load(float (&x)[pair_rows]) {
#pragma unroll
    for (int r = 0; r < pair_rows; ++r) x[r] = at[32 * r];
    at += step_numbers;
  }
};

// Eight rows less the shift where they are.
struct ShiftedRows {
  const float* rows[pair_rows];
  const float* shift;
  int64_t left;  // coordinates from this lane's on

  __device__ __forceinline__ void load(float (&x)[pair_rows]) {
    const bool is_inside = left > 0;
    const float offset = is_inside ? *shift : 0.0f;
#pragma unroll
    for (int r = 0; r < pair_rows; ++r) {
      x[r] = is_inside ? __fsub_rn(*rows[r], offset) : 0.0f;
      rows[r] += 32;
    }
    shift += 32;
    left -= 32;
  }
};

// Of the eight rows and centres, what a lane is left with: row lane / 4, and two centres.
struct OwnPairs {
  int centre;  // the first of the two
  float distances[2];
};

template <class Rows>
__device__ __forceinline__ OwnPairs measure_pairs(int64_t steps, Rows rows, const float* centres) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float* at = centres + lane;
  float sums[pairs] = {};
  for (int64_t step = 0; step < steps; ++step) {
    float x[pair_rows], c[pair_centres];
#pragma unroll
    for (int j = 0; j < pair_centres; ++j) c[j] = __ldg(at + 32 * j);
    at += step_numbers;
    rows.load(x);
#pragma unroll
    for (int r = 0; r < pair_rows; ++r) {
#pragma unroll
      for (int j = 0; j < pair_centres; ++j) {
        const float difference = __fsub_rn(x[r], c[j]);
        float& sum = sums[r * pair_centres + j];
        sum = __fmaf_rn(difference, difference, sum);
      }
    }
  }
  fold_pairs(sums, lane);
  return {lane % 4 * 2, {sums[0], sums[1]}};
}

// One distance, in every lane.
template <class RowValue, class CentreValue>
__device__ __forceinline__ float measure_pair(int64_t d, RowValue&& row_value,
                                              CentreValue&& centre_value) {
  float sum = 0;
  for (int64_t t = threadIdx.x % 32; t < d; t += 32) {
    const float difference = __fsub_rn(row_value(t), centre_value(t));
    sum = __fmaf_rn(difference, difference, sum);
  }
  for (int half = 16; half > 0; half /= 2) {
    sum = __fadd_rn(sum, __shfl_xor_sync(whole_warp, sum, half));
  }
  return sum;
}

}  // namespace cloister
