// Cells of rows: int8 products leave candidates, exact integers decide among them.
#include "code_vectors.cuh"
#include "screen_cells.hpp"

namespace cloister {
namespace {

constexpr int block_threads = screen_tile_rows, block_warps = block_threads / 32;

// The better of two cells by score, ties to the smaller one, as one number.
__device__ __forceinline__ int64_t ranked(int32_t score, int64_t j) {
  return int64_t{score} * (int64_t{1} << 32) + j;
}
__device__ __forceinline__ int32_t cell_of(int64_t rank) {
  return static_cast<int32_t>(rank & 0xffffffff);
}
constexpr int64_t worst_rank = INT64_MAX;

struct CellTask {
  const int16_t* codes;    // of the chunk
  const int16_t* centres;  // (classes, k, d)
  int64_t d, k;
  bool is_aligned;
  int32_t* cells;  // of the chunk
};

// Rows whose lists are not complete, each with its class.
struct OpenRows {
  int32_t* count;
  int32_t* rows;
  int64_t* groups;
};

// Each lane looks at the list of a row of its own; a warp joins for those with several candidates.
__global__ void __launch_bounds__(block_threads)
    settle_rows(CellTask task, CandidateLists lists, const RowTile* tiles, OpenRows open) {
  const RowTile tile = tiles[blockIdx.x];
  const int64_t row = int64_t{tile.first} + threadIdx.x;
  const bool is_row = static_cast<int>(threadIdx.x) < tile.rows;
  const int32_t count = is_row ? lists.counts[row] : 0;
  const bool is_complete = count <= list_capacity;
  const float limit = is_row ? lists.limits[row] : 0.0f;
  int32_t left = 0, last = 0;
  for (int32_t i = 0; is_complete && i < count; ++i) {
    const Candidate candidate = lists.entries[row * list_capacity + i];
    if (candidate.lower > limit) continue;
    ++left;
    last = candidate.centre;
  }
  if (left == 1) task.cells[row] = static_cast<int32_t>(tile.group * task.k + last);
  if (!is_complete) {
    const int32_t place = atomicAdd(open.count, 1);
    open.rows[place] = static_cast<int32_t>(row);
    open.groups[place] = tile.group;
  }
  const int16_t* centres = task.centres + tile.group * task.k * task.d;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint32_t waiting = __ballot_sync(whole_warp, left > 1);
  for (; waiting; waiting &= waiting - 1) {
    const int owner = __ffs(static_cast<int>(waiting)) - 1;
    const int64_t its_row = __shfl_sync(whole_warp, row, owner);
    const int32_t its_count = __shfl_sync(whole_warp, count, owner);
    const float its_limit = __shfl_sync(whole_warp, limit, owner);
    int64_t best = worst_rank;
    for (int32_t i = 0; i < its_count; ++i) {
      const Candidate candidate = lists.entries[its_row * list_capacity + i];
      if (candidate.lower > its_limit) continue;
      const int32_t score =
          warp_score(task.codes + its_row * task.d, centres + candidate.centre * task.d, task.d,
                     task.is_aligned);
      best = min(best, ranked(score, candidate.centre));
    }
    if (lane == owner) {
      task.cells[its_row] = static_cast<int32_t>(tile.group * task.k + cell_of(best));
    }
  }
}

// All centres of open rows first .. end - 1, a block a row.
__global__ void __launch_bounds__(block_threads)
    scan_open_rows(CellTask task, OpenRows open, int64_t first, int64_t end) {
  __shared__ int64_t ranks[block_warps];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t last = min(end, int64_t{*open.count});
  for (int64_t place = first + blockIdx.x; place < last; place += gridDim.x) {
    const int64_t row = open.rows[place], group = open.groups[place];
    int64_t best = worst_rank;
    for (int64_t j = warp; j < task.k; j += block_warps) {
      const int32_t score =
          warp_score(task.codes + row * task.d, task.centres + (group * task.k + j) * task.d,
                     task.d, task.is_aligned);
      best = min(best, ranked(score, j));
    }
    if (lane == 0) ranks[warp] = best;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int i = 1; i < block_warps; ++i) best = min(best, ranks[i]);
      task.cells[row] = static_cast<int32_t>(group * task.k + cell_of(best));
    }
    __syncthreads();
  }
}

// Tiles first .. first + count, which start at a row of all rows.
struct Chunk {
  int64_t first, count, row;
};

struct Chunks {
  std::vector<RowTile> tiles;
  std::vector<Chunk> list;
};

Chunks cut_into_chunks(const Partition& partition, int64_t chunk_tiles) {
  Chunks out;
  auto add_tile = [&](int64_t group, int64_t row, int64_t rows) {
    const bool fits = !out.list.empty() && out.list.back().count < chunk_tiles &&
                      row + rows - out.list.back().row <= chunk_tiles * screen_tile_rows;
    if (!fits) out.list.push_back({static_cast<int64_t>(out.tiles.size()), 0, row});
    out.tiles.push_back(
        {group, static_cast<int32_t>(row - out.list.back().row), static_cast<int32_t>(rows)});
    ++out.list.back().count;
  };
  for (int64_t g = 0; g < partition.classes; ++g) {
    const int64_t begin = partition.offsets[g], end = partition.offsets[g + 1];
    if (end - begin < fewest_screened_rows) continue;
    for (int64_t row = begin; row < end; row += screen_tile_rows) {
      add_tile(g, row, std::min<int64_t>(screen_tile_rows, end - row));
    }
  }
  return out;
}

class CellScreen {
 public:
  CellScreen(const CellCentres& centres, int64_t rows, const DeviceLimits& limits,
             const Execution& execution)
      : centres_(centres),
        limits_(limits),
        execution_(execution),
        stream_(stream_of(execution)),
        rows_{{rows * centres.stride, stream_}, {rows, stream_}},
        entries_(rows * list_capacity, stream_),
        counts_(rows, stream_),
        list_limits_(rows, stream_),
        open_count_(1, stream_),
        open_rows_(rows, stream_),
        open_groups_(rows, stream_) {}

  // codes and cells: of the first row.
  void assign(const int16_t* codes, const RowTile* tiles, int64_t tile_count, int32_t* cells,
              Pace& pace) {
    fill_cell_rows(codes, centres_, tiles, tile_count, rows_, execution_);
    const CandidateLists lists{entries_.data(), counts_.data(), list_limits_.data()};
    screen(Products::int8,
           {counts_.size(), rows_.bytes.data(), rows_.terms.data(), centres_.bytes.data(),
            centres_.terms.data(), centres_.stride, centres_.padded_k, lists},
           tiles, tile_count, limits_, execution_);
    open_count_.clear();
    const CellTask task{
        codes, centres_.codes, centres_.d, centres_.k, codes_are_aligned(codes, centres_.d), cells};
    const OpenRows open{open_count_.data(), open_rows_.data(), open_groups_.data()};
    launch(settle_rows, {tile_count}, block_threads, 0, execution_, task, lists, tiles, open);
    pace.step();
    // Nobody here knows how many rows are open: steps of some milliseconds, were it all of them.
    const int64_t rows = tile_count * screen_tile_rows;
    const int64_t step = std::max<int64_t>(1, (int64_t{1} << 37) / (centres_.k * centres_.d));
    for (int64_t first = 0; first < rows; first += step) {
      launch(scan_open_rows, {int64_t{8} * limits_.processors}, block_threads, 0, execution_, task,
             open, first, first + step);
      pace.step();
    }
  }

 private:
  const CellCentres& centres_;
  const DeviceLimits& limits_;
  const Execution& execution_;
  cudaStream_t stream_;
  CellRows rows_;
  Scratch<Candidate> entries_;
  Scratch<int32_t> counts_;
  Scratch<float> list_limits_;
  Scratch<int32_t> open_count_, open_rows_;
  Scratch<int64_t> open_groups_;
};

}  // namespace

void screen_cells(const int16_t* codes, int64_t n, int64_t d, const Partition& partition,
                  const int16_t* centres, int32_t* cells, const Execution& execution) {
  const DeviceLimits limits = device_limits();
  const int64_t needed = divide_up(n, screen_tile_rows) + partition.classes;
  const int64_t chunk_tiles = std::min(needed, screen_chunk_tiles(padded_bytes(d), limits));
  const Chunks chunks = cut_into_chunks(partition, chunk_tiles);
  const auto tiles =
      uploaded(chunks.tiles.data(), static_cast<int64_t>(chunks.tiles.size()), execution);
  const CellCentres prepared = cell_centres(centres, d, partition.k, partition.classes, execution);
  CellScreen screen(prepared, chunk_tiles * screen_tile_rows, limits, execution);
  Pace pace(execution);
  for (const Chunk& chunk : chunks.list) {
    screen.assign(codes + chunk.row * d, tiles.data() + chunk.first, chunk.count, cells + chunk.row,
                  pace);
  }
  wait(execution);  // for the tiles, of which this function owns the copy on the host
}

}  // namespace cloister
