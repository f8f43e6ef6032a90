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
  int64_t first_centre, last_centre;
  int row_warps;
};

__device__ __forceinline__ int64_t scanned_row(const Scan& scan, int64_t place) {
  const int64_t at = scan.first + min(place, scan.count - 1);  // past the end: a row again
  return scan.listed ? scan.listed[at] : at;
}

// The rows of a block less the shift, (8 row_warps, d), are in shared memory if they fit.
template <bool keeps_rows>
__global__ void __launch_bounds__(block_threads, 2)
    scan_tile(NearestRows task, Scan scan, NearestKey* keys) {
  float* kept = dynamic_shared<float>();
  const int64_t d = task.d, block_rows = pair_rows * scan.row_warps;
  const int64_t tile = blockIdx.x * block_rows;
  if (keeps_rows) {
    for (int64_t r = 0; r < block_rows; ++r) {
      const float* row = task.rows + scanned_row(scan, tile + r) * d;
      for (int64_t t = threadIdx.x; t < d; t += block_threads) {
        kept[r * d + t] = __fsub_rn(row[t], task.shift[t]);
      }
    }
    __syncthreads();
  }
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t warp_row = warp % scan.row_warps * pair_rows;
  const float* own_rows[pair_rows];
  for (int r = 0; r < pair_rows; ++r) {
    own_rows[r] = keeps_rows ? kept + (warp_row + r) * d
                             : task.rows + scanned_row(scan, tile + warp_row + r) * d;
  }
  const int centre_warps = block_warps / scan.row_warps;
  const int64_t stride = int64_t{gridDim.y} * centre_warps * pair_centres;
  int64_t j = scan.first_centre +
              (int64_t{blockIdx.y} * centre_warps + warp / scan.row_warps) * pair_centres;
  NearestKey best = farthest;
  for (; j < scan.last_centre; j += stride) {
    const float* centres[pair_centres];
    for (int c = 0; c < pair_centres; ++c) {
      centres[c] = task.centres + min(j + c, scan.last_centre - 1) * d;
    }
    const OwnPairs found = measure_pairs(
        d,
        [&](int r, int64_t t) {
          return keeps_rows ? own_rows[r][t] : __fsub_rn(own_rows[r][t], task.shift[t]);
        },
        [&](int c, int64_t t) { return __ldg(centres[c] + t); });
    for (int c = 0; c < 2; ++c) {  // past the end: the last centre again, under its own number
      const int64_t centre = min(j + found.centre + c, scan.last_centre - 1);
      best = min(best, key_of(found.distances[c], centre));
    }
  }
  for (int step = 1; step < 4; step *= 2) best = min(best, __shfl_xor_sync(whole_warp, best, step));
  const int64_t place = tile + warp_row + threadIdx.x % 32 / 4;
  if (threadIdx.x % 4 == 0 && best != farthest && place < scan.count) {
    atomicMin(keys + scanned_row(scan, place), best);
  }
}

// Pairs and coordinates of one step: some 30 ms of a large device.
constexpr int64_t step_products = int64_t{1} << 38;

// keys[i] becomes the least of what it is and the keys of all centres, for rows listed or all.
void scan_rows(const NearestRows& task, const int32_t* listed, int64_t count, NearestKey* keys,
               const Execution& execution) {
  const DeviceLimits limits = device_limits();
  const int64_t warp_bytes = pair_rows * task.d * int64_t{sizeof(float)};
  int row_warps = block_warps;  // as many as let two blocks run beside each other
  while (row_warps > 1 && row_warps * warp_bytes > limits.shared_bytes / 2) row_warps /= 2;
  const bool keeps_rows = row_warps * warp_bytes <= limits.shared_bytes;
  if (!keeps_rows) row_warps = block_warps;
  const size_t shared_bytes = keeps_rows ? static_cast<size_t>(row_warps * warp_bytes) : 0;
  auto* const kernel = keeps_rows ? scan_tile<true> : scan_tile<false>;
  allow_shared(kernel, shared_bytes);

  const int64_t block_rows = pair_rows * row_warps;
  const int64_t block_centres = pair_centres * (block_warps / row_warps);
  const int64_t fewest_rows = 2 * limits.processors * block_rows;  // all processors have work
  const int64_t step_rows = std::min(count, std::max(step_products / task.d / task.k, fewest_rows));
  const int64_t step_centres =
      std::clamp(step_products / task.d / std::max<int64_t>(step_rows, 1), block_centres, task.k);
  Pace pace(execution);
  for (int64_t first = 0; first < count; first += step_rows) {
    for (int64_t centre = 0; centre < task.k; centre += step_centres) {
      const Scan scan{listed,
                      first,
                      std::min(step_rows, count - first),
                      centre,
                      std::min(centre + step_centres, task.k),
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

// A warp decides for 32 rows: those with one candidate at once, the others one after the other.
// Rows whose candidates did not fit go to `listed`, *listed_count of them.
__global__ void __launch_bounds__(block_threads)
    decide_rows(NearestRows task, CandidateLists candidates, NearestKey* keys, int32_t* listed,
                int32_t* listed_count) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t base = int64_t{blockIdx.x} * block_threads + threadIdx.x - lane;
  const int64_t own_row = base + lane;
  const int32_t own_count = own_row < task.n ? candidates.counts[own_row] : 0;
  NearestKey own_key = farthest;
  if (own_count == 1) own_key = key_of(0, candidates.lists[own_row * candidates.capacity]);
  if (own_count > candidates.capacity) {
    listed[atomicAdd(listed_count, 1)] = static_cast<int32_t>(own_row);
  }
  const bool is_open = own_count > 1 && own_count <= candidates.capacity;
  for (unsigned open = __ballot_sync(whole_warp, is_open); open; open &= open - 1) {
    const int owner = __ffs(static_cast<int>(open)) - 1;
    const int32_t count = __shfl_sync(whole_warp, own_count, owner);
    const float* row = task.rows + (base + owner) * task.d;
    const int32_t* list = candidates.lists + (base + owner) * candidates.capacity;
    NearestKey best = farthest;
    for (int32_t p = 0; p < count; ++p) {
      const int32_t centre = list[p];
      const float* values = task.centres + int64_t{centre} * task.d;
      const float distance = measure_pair(
          task.d, [&](int64_t t) { return __fsub_rn(row[t], task.shift[t]); },
          [&](int64_t t) { return values[t]; });
      best = min(best, key_of(distance, centre));
    }
    if (lane == owner) own_key = best;
  }
  if (own_row < task.n) keys[own_row] = own_key;
}

}  // namespace

void scan_centres(const NearestRows& task, NearestKey* keys, const Execution& execution) {
  check(cudaMemsetAsync(keys, 0xFF, static_cast<size_t>(task.n) * sizeof(NearestKey),
                        stream_of(execution)));
  scan_rows(task, nullptr, task.n, keys, execution);
}

void decide_candidates(const NearestRows& task, const CandidateLists& candidates, NearestKey* keys,
                       const Execution& execution) {
  const Scratch<int32_t> listed(task.n, stream_of(execution)), count(1, stream_of(execution));
  count.clear();
  launch(decide_rows, {divide_up(task.n, block_threads)}, block_threads, 0, execution, task,
         candidates, keys, listed.data(), count.data());
  scan_rows(task, listed.data(), count.download(execution)[0], keys, execution);
}

}  // namespace cloister
