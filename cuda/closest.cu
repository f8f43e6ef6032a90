// What candidates would do for k-means++: distances to them, and sums in the order of the rows.
#include "distance_lanes.cuh"
#include "runtime.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256, block_warps = block_threads / 32;

struct Improvement {
  const float* rows;
  int64_t n, d;
  const float* shift;  // not null
  const double* weights;
  const float* packed;  // the candidates
  int64_t count;
};

__global__ void __launch_bounds__(block_threads) accept(int64_t n, Closest out) {
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (i >= n || !(out.improved[i] >> out.accepted & 1u)) return;
  out.closest[i] = out.distances[i * out.stride + out.accepted];
}

// A warp measures eight rows, four lanes of which are left with the distances of a row.
__global__ void __launch_bounds__(block_threads, 2) improve_rows(Improvement task, Closest out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t steps = (task.d + 31) / 32;
  const int64_t begin = (int64_t{blockIdx.x} * block_warps + threadIdx.x / 32) * int64_t{pair_rows};
  ShiftedRows rows;
  for (int r = 0; r < pair_rows; ++r) {
    rows.rows[r] = task.rows + min(begin + r, task.n - 1) * task.d + lane;
  }
  rows.shift = task.shift + lane;
  rows.left = task.d - lane;
  const int64_t own = begin + lane / 4;
  const bool is_row = own < task.n;
  const float least = is_row ? out.closest[own] : 0.0f;
  uint32_t closer = 0;
  for (int64_t group = 0; group * pair_centres < task.count; ++group) {
    const OwnPairs found = measure_pairs(steps, rows, task.packed + packed_place(group, steps, 0));
    for (int c = 0; c < 2; ++c) {
      const int64_t candidate = group * pair_centres + found.centre + c;
      if (!is_row || candidate >= task.count || !(found.distances[c] < least)) continue;
      out.distances[own * out.stride + candidate] = found.distances[c];
      closer |= 1u << candidate;
    }
  }
  for (int step = 1; step < 4; step *= 2) closer |= __shfl_xor_sync(whole_warp, closer, step);
  if (is_row && lane % 4 == 0) out.improved[own] = closer;
}

// A warp takes a block of rows and a lane a candidate: a sum in order cannot be divided further.
// What a few rows add is read before it is needed.
__global__ void __launch_bounds__(block_threads)
    add_potentials(Improvement task, Closest state, double* potentials) {
  constexpr int batch = 8;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t block = int64_t{blockIdx.x} * block_warps + threadIdx.x / 32;
  const int64_t begin = block * candidate_block, end = min(begin + candidate_block, task.n);
  if (begin >= task.n || lane >= task.count) return;
  double sum = 0;
  for (int64_t first = begin; first < end; first += batch) {
    double masses[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      const int64_t i = min(first + b, end - 1);
      const bool is_closer = state.improved[i] >> lane & 1u;
      const float least = is_closer ? state.distances[i * state.stride + lane] : state.closest[i];
      masses[b] = __dmul_rn(task.weights ? task.weights[i] : 1.0, least);
    }
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      if (first + b < end) sum = __dadd_rn(sum, masses[b]);
    }
  }
  potentials[block * task.count + lane] = sum;
}

// The task of the rows from `first` on, and their state.
Improvement part_of(Improvement task, int64_t first, int64_t n) {
  task.rows += first * task.d;
  if (task.weights) task.weights += first;
  task.n = n;
  return task;
}
Closest part_of(Closest state, int64_t first) {
  state.closest += first;
  state.distances += first * state.stride;
  state.improved += first;
  return state;
}

}  // namespace

void closest(const float* rows, int64_t n, int64_t d, const float* shift, const double* weights,
             ScreenedRows, const int32_t*, const float* candidates, int64_t count, Closest out,
             Execution execution) {
  const Scratch<float> device_shift(d, stream_of(execution));
  if (shift) {
    device_shift.upload(shift);
  } else {
    device_shift.clear();
  }
  const auto device_candidates = uploaded(candidates, count * d, execution);
  const auto packed = packed_centres(device_candidates.data(), count, d, execution);
  const Improvement task{rows, n, d, device_shift.data(), weights, packed.data(), count};
  const Scratch<double> potentials(divide_up(n, candidate_block) * count, stream_of(execution));
  const int64_t step =
      std::max<int64_t>(1, step_work(int64_t{1} << 31) / d / candidate_block) * candidate_block;
  Pace pace(execution);
  for (int64_t first = 0; first < n; first += step) {
    const Improvement part = part_of(task, first, std::min(step, n - first));
    const Closest state = part_of(out, first);
    if (out.accepted >= 0) {
      launch(accept, {divide_up(part.n, block_threads)}, block_threads, 0, execution, part.n,
             state);
    }
    launch(improve_rows, {divide_up(part.n, block_warps * pair_rows)}, block_threads, 0, execution,
           part, state);
    launch(add_potentials, {divide_up(part.n, block_warps * candidate_block)}, block_threads, 0,
           execution, part, state, potentials.data() + first / candidate_block * count);
    pace.step();
  }
  const std::vector<double> sums = potentials.download(execution);
  std::copy(sums.begin(), sums.end(), out.potentials);
}

}  // namespace cloister
