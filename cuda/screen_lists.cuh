// What becomes of a warp's square of products: scores, their bounds, and the lists of candidates.
#pragma once

#include "instructions.cuh"
#include "screen.hpp"

namespace cloister {

struct Int8Products {
  using Sum = int32_t;
  static __device__ __forceinline__ void multiply(Sum (&sums)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
    multiply_int8(sums, a, b);
  }
  static __device__ __forceinline__ float value(Sum sum) { return __int2float_rn(sum); }
};

struct Float16Products {
  using Sum = float;
  static __device__ __forceinline__ void multiply(Sum (&sums)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
    multiply_float16(sums, a, b);
  }
  static __device__ __forceinline__ float value(Sum sum) { return sum; }
};

template <class Kind>
using WarpSums = typename Kind::Sum[4][8][4];  // 16 rows, 8 centres, the four of a lane

// Floats as integers of the same order, for atomicMin.
__device__ __forceinline__ int32_t ordered(float value) {
  const int32_t bits = __float_as_int(value);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
__device__ __forceinline__ float from_ordered(int32_t bits) {
  return __int_as_float(bits ^ ((bits >> 31) & 0x7fffffff));
}
constexpr int32_t ordered_infinity = 0x7f800000;
constexpr float largest_float = 0x1.fffffep127f;

// What a block knows of its rows, in shared memory.
struct RowNumbers {
  float* factors;
  float* slopes;
  float* grounds;   // -infinity: no such row
  int32_t* leasts;  // ordered: the least upper bound of a score
  int32_t* counts;

  __device__ __forceinline__ void start(int row, const RowTerm& term) const {
    factors[row] = term.factor;
    slopes[row] = term.slope;
    grounds[row] = term.ground;
    leasts[row] = ordered_infinity;
    counts[row] = 0;
  }
};
template <int rows>
__device__ __forceinline__ RowNumbers row_numbers(void* shared) {
  auto* floats = static_cast<float*>(shared);
  auto* integers = reinterpret_cast<int32_t*>(floats + 3 * rows);
  return {floats, floats + rows, floats + 2 * rows, integers, integers + rows};
}

// Not infinite, even where nothing is known yet: centres past the last have infinite scores.
__device__ __forceinline__ float limit_of(float least, float ground) {
  return min(__fadd_ru(least, ground), largest_float);
}
__device__ __forceinline__ float limit_of(const RowNumbers& rows, int row) {
  return limit_of(from_ordered(rows.leasts[row]), rows.grounds[row]);
}

// Appends those of a lane's 16 centres whose lower bounds are within the limit.
__device__ __forceinline__ void append(float (&scores)[16], const CentreTerm* terms, float slope,
                                       float limit, int32_t centre, int32_t* count,
                                       Candidate* list) {
  uint32_t within = 0;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    scores[i] = __fmaf_rn(-slope, terms[i / 2 * 8 + i % 2].norm, scores[i]);
    within |= uint32_t{scores[i] <= limit} << i;
  }
  while (within) {
    const int chosen = __ffs(static_cast<int>(within)) - 1;
    within &= within - 1;
    float lower = scores[0];
#pragma unroll
    for (int i = 1; i < 16; ++i) lower = i == chosen ? scores[i] : lower;
    const int32_t place = atomicAdd(count, 1);
    if (place < list_capacity) list[place] = {lower, centre + chosen / 2 * 8 + chosen % 2};
  }
}

// Of the eight rows of four neighbouring lanes, each of which knows a least upper bound of theirs:
// lane q takes rows 2q and 2q + 1, and all learn the limits.
__device__ __forceinline__ void share_limits(const float (&leasts)[8], const RowNumbers& rows,
                                             int first_row, float (&limits)[8]) {
  const bool is_high = threadIdx.x & 2, is_odd = threadIdx.x & 1;
  float fours[4], own[2];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float other = __shfl_xor_sync(whole_warp, is_high ? leasts[i] : leasts[i + 4], 2);
    fours[i] = min(is_high ? leasts[i + 4] : leasts[i], other);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float other = __shfl_xor_sync(whole_warp, is_odd ? fours[i] : fours[i + 2], 1);
    const float least = min(is_odd ? fours[i + 2] : fours[i], other);
    const int row = first_row + (static_cast<int>(threadIdx.x) % 4 * 2 + i) * 8;
    const float before = from_ordered(atomicMin(rows.leasts + row, ordered(least)));
    own[i] = limit_of(min(least, before), rows.grounds[row]);
  }
#pragma unroll
  for (int slot = 0; slot < 8; ++slot) {
    limits[slot] = __shfl_sync(whole_warp, own[slot % 2], slot / 2, 4);
  }
}

// A warp's square: takes the least upper bound of each row into account, then finds candidates.
// first_row is of the block, centre of the group; both of the first that this lane holds.
template <class Kind>
__device__ __forceinline__ void take_scores(const WarpSums<Kind>& sums, const CentreTerm* terms,
                                            const RowNumbers& rows, int first_row, int32_t centre,
                                            Candidate* lists) {
  float scores[8][16], leasts[8], factors[8], slopes[8], largest_norm = 0.0f;
#pragma unroll
  for (int slot = 0; slot < 8; ++slot) {
    factors[slot] = rows.factors[first_row + slot * 8];
    slopes[slot] = rows.slopes[first_row + slot * 8];
    leasts[slot] = __int_as_float(ordered_infinity);
  }
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const CentreTerm term = terms[i / 2 * 8 + i % 2];
    largest_norm = max(largest_norm, term.norm);
#pragma unroll
    for (int slot = 0; slot < 8; ++slot) {
      const float sum = Kind::value(sums[slot / 2][i / 2][slot % 2 * 2 + i % 2]);
      const float score = __fmaf_rn(__fmul_rn(sum, term.scale), factors[slot], term.square);
      scores[slot][i] = score;
      leasts[slot] = min(leasts[slot], __fmaf_rn(slopes[slot], term.norm, score));
    }
  }
  float limits[8];
  share_limits(leasts, rows, first_row, limits);
#pragma unroll
  for (int slot = 0; slot < 8; ++slot) {
    const int row = first_row + slot * 8;
    // None of the 16 can be within the limit else: bounds are 2 r apart, but for roundings, which
    // are less than r / 8 each.
    const float apart = __fmul_rn(2.5f * slopes[slot], largest_norm);
    if (leasts[slot] <= __fadd_ru(limits[slot], apart)) {
      append(scores[slot], terms, slopes[slot], limits[slot], centre, rows.counts + row,
             lists + int64_t{row} * list_capacity);
    }
  }
}

// Drops from the longer lists what a better score has put out of reach. Between barriers.
template <class Shape>
__device__ __forceinline__ void shorten_lists(const RowNumbers& rows, Candidate* lists) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  constexpr int share = Shape::rows / Shape::warps;
  for (int row = warp * share; row < (warp + 1) * share; ++row) {
    const int32_t count = rows.counts[row];
    if (count <= list_capacity / 2 || count > list_capacity) continue;
    Candidate* list = lists + int64_t{row} * list_capacity;
    Candidate own{};
    if (lane < count) own = list[lane];
    const bool stays = lane < count && own.lower <= limit_of(rows, row);
    const uint32_t kept = __ballot_sync(whole_warp, stays);
    __syncwarp();  // all have read before any writes: a ballot orders no memory
    if (stays) list[__popc(kept & ((1u << lane) - 1))] = own;
    if (lane == 0) rows.counts[row] = __popc(kept);
    __syncwarp();
  }
}

}  // namespace cloister
