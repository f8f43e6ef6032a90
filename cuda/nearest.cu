// The nearest centre of each row: keys by distances, then what is wanted of them.
#include "cluster_sums.hpp"
#include "instructions.cuh"
#include "near_centres.hpp"
#include "nearest_keys.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256;
constexpr int distance_lanes = 8;  // of the definition; a warp takes four rows

__global__ void __launch_bounds__(block_threads)
    take_labels(const NearestKey* keys, int64_t n, int32_t* labels) {
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (i < n) labels[i] = static_cast<int32_t>(keys[i] & 0xFFFFFFFFu);
}

__global__ void __launch_bounds__(block_threads)
    measure_labels(NearestRows task, const int32_t* labels, double* distances) {
  const int lane = static_cast<int>(threadIdx.x) % distance_lanes;
  const int64_t place = (int64_t{blockIdx.x} * block_threads + threadIdx.x) / distance_lanes;
  const int64_t i = min(place, task.n - 1);  // past the end: company for the warp
  const float* row = task.rows + i * task.d;
  const float* centre = task.centres + int64_t{labels[i]} * task.d;
  double sum = 0;
#pragma unroll 8
  for (int64_t t = lane; t < task.d; t += distance_lanes) {
    const float x = __fsub_rn(row[t], task.shift[t]);
    const double difference = __dsub_rn(x, centre[t]);
    sum = __dadd_rn(sum, __dmul_rn(difference, difference));
  }
  for (int half = distance_lanes / 2; half > 0; half /= 2) {
    sum = __dadd_rn(sum, __shfl_xor_sync(whole_warp, sum, half));
  }
  if (lane == 0 && place < task.n) distances[place] = sum;
}

// Below, centres padded to whole tiles cost more than all distances.
bool shape_is_screened(const NearestRows& task) {
  return task.n >= 128 && task.k >= 16 && task.d >= 16;
}

// keys[i] = the key of row i's nearest centre.
void find_keys(const NearestRows& task, NearestKey* keys, const Execution& execution) {
  if (!shape_is_screened(task)) {
    scan_centres(task, keys, execution);
    return;
  }
  NearCentres screen(task.centres, task.k, task.d, task.shift, task.n, execution);
  const OpenRows open(task.n, execution);
  Pace pace(execution);
  for (int64_t first = 0; first < task.n; first += screen.chunk_rows()) {
    const int64_t count = std::min(screen.chunk_rows(), task.n - first);
    const CandidateLists lists = screen.find(task.rows + first * task.d, count);
    decide_by_lists(task, first, count, lists, keys, open, execution);
    pace.step();
  }
  scan_open_rows(task, open, keys, execution);
}

void find_labels(const NearestRows& task, int32_t* labels, const Execution& execution) {
  const Scratch<NearestKey> keys(task.n, stream_of(execution));
  find_keys(task, keys.data(), execution);
  launch(take_labels, {divide_up(task.n, block_threads)}, block_threads, 0, execution, keys.data(),
         task.n, labels);
}

void find_distances(const NearestRows& task, const int32_t* labels, double* distances,
                    const Execution& execution) {
  const int64_t step = std::max<int64_t>(1, step_work(int64_t{1} << 32) / task.d);
  Pace pace(execution);
  for (int64_t first = 0; first < task.n; first += step) {
    NearestRows part = task;
    part.rows += first * task.d;
    part.n = std::min(step, task.n - first);
    launch(measure_labels, {divide_up(part.n * distance_lanes, block_threads)}, block_threads, 0,
           execution, part, labels + first, distances + first);
    pace.step();
  }
}

}  // namespace

void nearest(const float* rows, int64_t n, int64_t d, const float* shift, const double* weights,
             ScreenedRows, Neighbours, const float* centres, int64_t k, Nearest out,
             Execution execution) {
  if (n == 0) return;
  const auto stream = stream_of(execution);
  const Scratch<float> device_shift(d, stream);
  if (shift) {
    device_shift.upload(shift);
  } else {
    device_shift.clear();
  }
  const auto device_centres = uploaded(centres, k * d, execution);
  const NearestRows task{rows, n, d, device_shift.data(), device_centres.data(), k};

  const Scratch<int32_t> own_labels(out.labels ? 0 : n, stream);
  const Scratch<int32_t> previous(out.updates ? n : 0, stream);
  int32_t* labels = out.labels ? out.labels : own_labels.data();
  if (out.updates) {
    check(cudaMemcpyAsync(previous.data(), labels, static_cast<size_t>(n) * sizeof(int32_t),
                          cudaMemcpyDeviceToDevice, stream));
  }
  find_labels(task, labels, execution);
  if (out.distances) find_distances(task, labels, out.distances, execution);

  int64_t moved = 0;
  const Scratch<unsigned long long> sums(out.sums ? k * d : 0, stream);
  const Scratch<unsigned long long> counts(out.counts ? k : 0, stream);
  if (out.sums || out.counts) {
    sums.clear();
    counts.clear();
    moved = add_moved_rows(
        {rows, n, d, device_shift.data(), weights, k, out.sum_scale, out.count_scale}, labels,
        out.updates ? previous.data() : nullptr, {sums, counts}, execution);
  }
  wait(execution);
  if (out.sums) add_to_host(out.sums, sums, execution);
  if (out.counts) add_to_host(out.counts, counts, execution);
  if (out.moved) *out.moved = moved;
  if (out.recalled) *out.recalled = 0;
}

}  // namespace cloister
