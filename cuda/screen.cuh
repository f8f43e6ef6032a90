// The fused kernel of the screen: products of a tile of rows with one tile of centres after the
// other, in registers, and of each such square of scores nothing but the candidates leaves them.
//
// Eight warps take 64 x 64 scores each. Bytes travel in slices of 64 a row: centres, and rows where
// they do not fit shared memory, through a ring of stages filled by asynchronous copies. Within a
// slice the four chunks of 16 bytes of row r trade places by r / 2, so that the eight rows that
// ldmatrix reads at a time lie in different banks.
#pragma once

#include "screen_lists.cuh"

namespace cloister {

// Blocks of eight warps have a processor to themselves; of four, two blocks share it.
template <int row_warps, int centre_warps_>
struct ScreenShape {
  static constexpr int centre_warps = centre_warps_, warps = row_warps * centre_warps;
  static constexpr int threads = 32 * warps, stages = 3;
  static constexpr int rows = 64 * row_warps, centres = 64 * centre_warps;
  static constexpr int row_slice = rows * slice_bytes, centre_slice = centres * slice_bytes;
  static constexpr int terms_bytes = centres * sizeof(CentreTerm);
  static constexpr int row_numbers_bytes = 5 * rows * sizeof(float);

  static size_t stage_bytes(bool is_resident) {
    return size_t(centre_slice + terms_bytes + (is_resident ? 0 : row_slice));
  }
  static size_t shared_bytes(int64_t slices, bool is_resident) {
    return size_t(is_resident ? slices * row_slice : 0) + stages * stage_bytes(is_resident) +
           row_numbers_bytes;
  }
};

// Starts the copy of one slice of `rows` rows; those from `present` on are zero.
template <int rows, int threads>
__device__ __forceinline__ void copy_slice(uint8_t* shared, const uint8_t* global, int64_t stride,
                                           int present) {
  constexpr int chunks = slice_bytes / 16;
#pragma unroll
  for (int u = 0; u < rows * chunks / threads; ++u) {
    const int i = static_cast<int>(threadIdx.x) + u * threads;
    const int row = i / chunks, chunk = i % chunks;
    const int source = row < present ? row : 0;
    copy_later(shared + row * slice_bytes + (chunk ^ (row / 2 % chunks)) * 16,
               global + source * stride + chunk * 16, row < present ? 16 : 0);
  }
}

// sums += the products of 64 rows and 64 centres over one slice. At a lane's own row of its matrix.
template <class Kind>
__device__ __forceinline__ void multiply_slice(WarpSums<Kind>& sums, const uint8_t* rows,
                                               const uint8_t* centres) {
  const int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8, line = lane % 8;
  const uint8_t* own_row = rows + (matrix % 2 * 8 + line) * slice_bytes;
  const uint8_t* own_centre = centres + (matrix / 2 * 8 + line) * slice_bytes;
#pragma unroll
  for (int step = 0; step < 2; ++step) {  // of 32 bytes
    const int row_chunk = (2 * step + matrix / 2) ^ (line / 2);
    const int centre_chunk = (2 * step + matrix % 2) ^ (line / 2);
    uint32_t a[4][4], b[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      load_matrices(a[i], own_row + i * 16 * slice_bytes + row_chunk * 16);
      load_matrices(b[i], own_centre + i * 16 * slice_bytes + centre_chunk * 16);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const uint32_t columns[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        Kind::multiply(sums[i][j], a[i], columns);
      }
    }
  }
}

// What a block reads, and where in shared memory it keeps it: rows, if they stay, then the ring.
template <class Shape>
struct Feed {
  const uint8_t* row_bytes;
  const uint8_t* centre_bytes;
  const CentreTerm* terms;
  int64_t stride, padded_k;
  int slices, present;  // present: rows that there are
  bool is_resident;
  uint8_t* shared;
  int next_slice;
  int64_t next_centre;

  __device__ __forceinline__ int stage_bytes() const {
    return Shape::centre_slice + Shape::terms_bytes + (is_resident ? 0 : Shape::row_slice);
  }
  __device__ __forceinline__ uint8_t* place(int stage) const {
    return shared + (is_resident ? slices * Shape::row_slice : 0) + stage * stage_bytes();
  }
  __device__ __forceinline__ uint8_t* row_slice(int stage, int slice) const {
    return is_resident ? shared + slice * Shape::row_slice
                       : place(stage) + Shape::centre_slice + Shape::terms_bytes;
  }

  __device__ __forceinline__ void start_rows(int stage, int slice) const {
    copy_slice<Shape::rows, Shape::threads>(row_slice(stage, slice),
                                            row_bytes + slice * slice_bytes, stride, present);
  }
  // A step is one slice of one tile of centres. The terms come with the last slice.
  __device__ __forceinline__ void start_step(int stage) {
    if (next_centre < padded_k) {
      uint8_t* to = place(stage);
      copy_slice<Shape::centres, Shape::threads>(
          to, centre_bytes + next_centre * stride + next_slice * slice_bytes, stride,
          Shape::centres);
      if (!is_resident) start_rows(stage, next_slice);
      if (++next_slice == slices) {
        const int thread = static_cast<int>(threadIdx.x);
        if (thread < Shape::centres) {
          copy_later(to + Shape::centre_slice + thread * sizeof(CentreTerm),
                     terms + next_centre + thread, 16);
        }
        next_slice = 0;
        next_centre += Shape::centres;
      }
    }
    commit_copies();  // even if empty: groups are counted
  }
};

// Multiplies the block's rows with all centres of their group, as the ring brings them.
template <class Kind, class Shape>
__device__ __forceinline__ void screen_all(Feed<Shape>& feed, const RowNumbers& rows,
                                           Candidate* lists) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int warp_row = warp / Shape::centre_warps * 64;
  const int warp_centre = warp % Shape::centre_warps * 64;
  for (int stage = 0; stage < Shape::stages - 1; ++stage) feed.start_step(stage);
  WarpSums<Kind> sums = {};
  int slice = 0, stage = 0, first_centre = 0;
  while (first_centre < feed.padded_k) {
    wait_for_copies<Shape::stages - 2>();
    __syncthreads();
    feed.start_step(stage == 0 ? Shape::stages - 1 : stage - 1);
    if (slice == 0 && first_centre > 0) {
      const bool is_long = thread < Shape::rows && rows.counts[thread] > list_capacity / 2;
      if (__syncthreads_or(is_long)) {
        shorten_lists<Shape>(rows, lists);
        __syncthreads();
      }
    }
    const uint8_t* centres = feed.place(stage);
    multiply_slice<Kind>(sums, feed.row_slice(stage, slice) + warp_row * slice_bytes,
                         centres + warp_centre * slice_bytes);
    stage = stage == Shape::stages - 1 ? 0 : stage + 1;
    if (++slice < feed.slices) continue;
    slice = 0;
    const auto* terms = reinterpret_cast<const CentreTerm*>(centres + Shape::centre_slice);
    const int column = warp_centre + lane % 4 * 2;
    take_scores<Kind>(sums, terms + column, rows, warp_row + lane / 4, first_centre + column,
                      lists);
    first_centre += Shape::centres;
#pragma unroll
    for (int i = 0; i < 128; ++i) sums[i / 32][i / 4 % 8][i % 4] = 0;
  }
  wait_for_copies<0>();
  __syncthreads();
}

template <class Kind, class Shape>
__global__ void __launch_bounds__(Shape::threads, 8 / Shape::warps)
    screen_rows(const ScreenTask task, const RowTile* tiles, int slices, bool is_resident) {
  constexpr int parts = screen_tile_rows / Shape::rows;  // blocks that share a RowTile
  const RowTile tile = tiles[blockIdx.x / parts];
  const int skipped = static_cast<int>(blockIdx.x) % parts * Shape::rows;
  const int64_t first = int64_t{tile.first} + skipped;
  const int left = static_cast<int>(min(int64_t{Shape::rows}, task.rows - first));
  const int present = min(tile.rows - skipped, left);
  if (present <= 0) return;

  Feed<Shape> feed{task.row_bytes + first * task.stride,
                   task.centre_bytes + tile.group * task.padded_k * task.stride,
                   task.centre_terms + tile.group * task.padded_k,
                   task.stride,
                   task.padded_k,
                   slices,
                   present,
                   is_resident,
                   dynamic_shared<uint8_t>(),
                   0,
                   0};
  const RowNumbers rows = row_numbers<Shape::rows>(feed.place(Shape::stages));
  for (int i = static_cast<int>(threadIdx.x); i < Shape::rows; i += Shape::threads) {
    RowTerm term{0.0f, 0.0f, -__int_as_float(ordered_infinity)};
    if (i < present) term = task.row_terms[first + i];
    rows.start(i, term);
  }
  for (int slice = 0; is_resident && slice < slices; ++slice) feed.start_rows(0, slice);
  screen_all<Kind>(feed, rows, task.lists.entries + first * list_capacity);
  for (int i = static_cast<int>(threadIdx.x); i < present; i += Shape::threads) {
    // Without any candidate there was no number to compare: whatever it is, it is not for a screen.
    task.lists.counts[first + i] = rows.counts[i] ? rows.counts[i] : list_capacity + 1;
    task.lists.limits[first + i] = limit_of(rows, i);
  }
}

}  // namespace cloister
