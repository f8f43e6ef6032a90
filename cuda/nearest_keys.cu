#include "distance_lanes.cuh"
#include "nearest_keys.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256, block_warps = block_threads / 32;
constexpr NearestKey farthest = ~NearestKey{0};

__device__ __forceinline__ NearestKey key_of(float distance, int64_t centre) {
  return NearestKey{__float_as_uint(distance)} << 32 | static_cast<uint32_t>(centre);
}

// Which rows a scan is about, and how its warps share the work: row_warps of a block take eight
// rows each, the others further centres.
struct Scan {
  const int32_t* listed;  // the rows, null: all
  int64_t first, count;   // of the rows or the list
  const float* packed;    // all centres
  int64_t first_centre, last_centre;
  int row_warps;
};

__device__ __forceinline__ int64_t scanned_row(const Scan& scan, int64_t place) {
  const int64_t at = scan.first + min(place, scan.count - 1);  // past the end: a row again
  return scan.listed ? scan.listed[at] : at;
}

// Eight rows from the given place of a scan on, less the shift.
__device__ __forceinline__ ShiftedRows rows_from(const NearestRows& task, const Scan& scan,
                                                 int64_t place) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ShiftedRows out;
  for (int r = 0; r < pair_rows; ++r) {
    out.rows[r] = task.rows + scanned_row(scan, place + r) * task.d + lane;
  }
  out.shift = task.shift + lane;
  out.left = task.d - lane;
  return out;
}

// The least key of a warp's eight rows and every `stride`-th group of centres.
template <class Rows>
__device__ __forceinline__ NearestKey least_key(const Scan& scan, int64_t steps, const Rows& rows,
                                                int64_t group, int64_t stride) {
  NearestKey best = farthest;
  for (; group * pair_centres < scan.last_centre; group += stride) {
    const OwnPairs found = measure_pairs(steps, rows, scan.packed + packed_place(group, steps, 0));
    for (int c = 0; c < 2; ++c) {
      const int64_t centre = group * pair_centres + found.centre + c;
      if (centre < scan.last_centre) best = min(best, key_of(found.distances[c], centre));
    }
  }
  for (int step = 1; step < 4; step *= 2) best = min(best, __shfl_xor_sync(whole_warp, best, step));
  return best;
}

// Rows of a block are packed into shared memory if they fit.
template <bool keeps_rows>
__global__ void __launch_bounds__(block_threads, keeps_rows ? 2 : 1)
    scan_tile(NearestRows task, Scan scan, NearestKey* keys) {
  float* kept = dynamic_shared<float>();
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t steps = (task.d + 31) / 32;
  const int64_t tile = int64_t{blockIdx.x} * pair_rows * scan.row_warps;
  if (keeps_rows) {
    for (int group = warp; group < scan.row_warps; group += block_warps) {
      ShiftedRows rows = rows_from(task, scan, tile + group * pair_rows);
      for (int64_t step = 0; step < steps; ++step) {
        float x[pair_rows];
        rows.load(x);
        float* own = kept + packed_place(group, steps, step) + lane;
        for (int r = 0; r < pair_rows; ++r) own[32 * r] = x[r];
      }
    }
    __syncthreads();
  }
  const int own_group = warp % scan.row_warps, centre_warps = block_warps / scan.row_warps;
  const int64_t first_group =
      scan.first_centre / pair_centres + int64_t{blockIdx.y} * centre_warps + warp / scan.row_warps;
  const int64_t stride = int64_t{gridDim.y} * centre_warps;
  const int64_t first_row = tile + own_group * pair_rows;
  NearestKey best;
  if (keeps_rows) {
    const PackedRows rows{kept + packed_place(own_group, steps, 0) + lane};
    best = least_key(scan, steps, rows, first_group, stride);
  } else {
    best = least_key(scan, steps, rows_from(task, scan, first_row), first_group, stride);
  }
  const int64_t place = first_row + lane / 4;
  if (lane % 4 == 0 && best != farthest && place < scan.count) {
    atomicMin(keys + scanned_row(scan, place), best);
  }
}

// Pairs and coordinates of one step: some 30 ms of a large device.
constexpr int64_t step_products = step_work(int64_t{1} << 38);

// keys[i] becomes the least of what it is and the keys of all centres, for rows listed or all.
void scan_rows(const NearestRows& task, const int32_t* listed, int64_t count, NearestKey* keys,
               const Execution& execution) {
  if (count == 0) return;
  const DeviceLimits limits = device_limits();
  const int64_t warp_bytes = lane_steps(task.d) * step_numbers * int64_t{sizeof(float)};
  int row_warps = block_warps;  // as many as have rows, and let two blocks run beside each other
  while (row_warps > 1 && row_warps / 2 * pair_rows >= count) row_warps /= 2;
  while (row_warps > 1 && row_warps * warp_bytes > limits.shared_bytes / 2) row_warps /= 2;
  const bool keeps_rows = row_warps * warp_bytes <= limits.shared_bytes;
  const size_t shared_bytes = keeps_rows ? static_cast<size_t>(row_warps * warp_bytes) : 0;
  auto* const kernel = keeps_rows ? scan_tile<true> : scan_tile<false>;
  allow_shared(kernel);

  const int64_t block_rows = pair_rows * row_warps;
  const int64_t block_centres = pair_centres * (block_warps / row_warps);
  const int64_t fewest_rows = 2 * limits.processors * block_rows;  // all processors have work
  const int64_t step_rows = std::min(count, std::max(step_products / task.d / task.k, fewest_rows));
  const int64_t step_centres =
      divide_up(std::max(step_products / task.d / step_rows, block_centres), pair_centres) *
      pair_centres;
  const auto packed = packed_centres(task.centres, task.k, task.d, execution);
  Pace pace(execution);
  for (int64_t first = 0; first < count; first += step_rows) {
    for (int64_t centre = 0; centre < task.k; centre += step_centres) {
      const Scan scan{listed,        first,  std::min(step_rows, count - first),
                      packed.data(), centre, std::min(centre + step_centres, task.k),
                      row_warps};
      const int64_t tiles = divide_up(scan.count, block_rows);
      const int64_t splits = std::clamp<int64_t>(
          4 * limits.processors / tiles, 1,
          std::min<int64_t>(divide_up(scan.last_centre - centre, block_centres), 1024));
      launch(kernel, {tiles, splits}, block_threads, shared_bytes, execution, task, scan, keys);
      pace.step();
    }
  }
}

// A warp decides a row, a lane looks at an entry of its list.
static_assert(list_capacity == 32);
__global__ void __launch_bounds__(block_threads)
    decide_rows(NearestRows task, int64_t first, int64_t count, CandidateLists lists,
                NearestKey* keys, int32_t* undecided, int32_t* undecided_count) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t place = int64_t{blockIdx.x} * block_warps + threadIdx.x / 32;
  if (place >= count) return;
  const int32_t listed = lists.counts[place];
  Candidate own{0, 0};
  if (listed <= list_capacity && lane < listed) own = lists.entries[place * list_capacity + lane];
  const bool is_near = listed <= list_capacity && lane < listed && own.lower <= lists.limits[place];
  unsigned left = __ballot_sync(whole_warp, is_near);
  const bool is_one = __popc(left) == 1;
  const int64_t row = first + place;
  const float* values = task.rows + row * task.d;
  NearestKey best = farthest;
  for (; left; left &= left - 1) {
    const int64_t centre = __shfl_sync(whole_warp, own.centre, __ffs(static_cast<int>(left)) - 1);
    const float* other = task.centres + centre * task.d;
    float distance = 0;
    if (!is_one) {
      distance = measure_pair(
          task.d, [&](int64_t t) { return __fsub_rn(values[t], task.shift[t]); },
          [&](int64_t t) { return other[t]; });
    }
    best = min(best, key_of(distance, centre));
  }
  if (lane != 0) return;
  keys[row] = best;
  if (best == farthest) undecided[atomicAdd(undecided_count, 1)] = static_cast<int32_t>(row);
}

}  // namespace

void scan_centres(const NearestRows& task, NearestKey* keys, const Execution& execution) {
  check(cudaMemsetAsync(keys, 0xFF, static_cast<size_t>(task.n) * sizeof(NearestKey),
                        stream_of(execution)));
  scan_rows(task, nullptr, task.n, keys, execution);
}

UndecidedRows::UndecidedRows(int64_t n, const Execution& execution)
    : rows(n, stream_of(execution)), count(1, stream_of(execution)) {
  count.clear();
}

void decide_candidates(const NearestRows& task, int64_t first, int64_t count,
                       const CandidateLists& lists, NearestKey* keys,
                       const UndecidedRows& undecided, const Execution& execution) {
  launch(decide_rows, {divide_up(count, block_warps)}, block_threads, 0, execution, task, first,
         count, lists, keys, undecided.rows.data(), undecided.count.data());
}

void scan_undecided(const NearestRows& task, const UndecidedRows& undecided, NearestKey* keys,
                    const Execution& execution) {
  scan_rows(task, undecided.rows.data(), undecided.count.download(execution)[0], keys, execution);
}

}  // namespace cloister
