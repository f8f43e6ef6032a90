// Warps take runs of neighbours in the order of the cells. Each lane owns columns and keeps their
// sums in registers while the cell stays the same: a run is too short for int32 to overflow.
#include "prepare_residuals.hpp"
#include "residual.cuh"
#include "row_sums.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 128, block_warps = block_threads / 32;
constexpr int64_t longest_run = 511;  // 511 squares of 2^22, or 65,535 int16, fit int32

enum class Rows { plain, clipped, prepared };

struct Prepared {
  const double* factors;
  const uint8_t* steps;
};

struct Runs {
  const int32_t* cells;
  RowGroups groups;
  int32_t first, end, length;  // of positions in groups.order; the length is that of one run
};

// The columns of one lane of a group of `width` lanes: 8 * vectors of them. Where rows lie on
// multiples of 16 bytes they come 8 at a time, elsewhere each is a width away from the last.
template <int width, int vectors, bool aligned>
struct Columns {
  static constexpr int count = 8 * vectors, tile = width * count;
  int first, d;

  __device__ __forceinline__ Columns(int tile_index, int64_t d_) : d(static_cast<int>(d_)) {
    const int lane = static_cast<int>(threadIdx.x) % width;
    first = tile_index * tile + (aligned ? 8 * lane : lane);
  }
  __device__ __forceinline__ int at(int e) const {
    return first + (aligned ? e / 8 * 8 * width + e % 8 : e * width);
  }
  // Zeros past the end, and throughout if nothing is wanted.
  __device__ __forceinline__ void load(const int16_t* row, bool wanted,
                                       int32_t (&values)[count]) const {
    if constexpr (aligned) {
#pragma unroll
      for (int e = 0; e < count; e += 8) {
        uint4 words = make_uint4(0, 0, 0, 0);
        if (wanted && at(e) < d) words = *reinterpret_cast<const uint4*>(row + at(e));
        const uint32_t each[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          values[e + i] = static_cast<int16_t>(each[i / 2] >> (16 * (i % 2)));
        }
      }
    } else {
#pragma unroll
      for (int e = 0; e < count; ++e) values[e] = wanted && at(e) < d ? row[at(e)] : 0;
    }
  }
};

// factors[r] of the group's rows r = 0 .. count - 1: lane r computes the one of row r.
template <int width, int count>
__device__ __forceinline__ void residual_factors(const int32_t (&norms)[count], const Clip& clip,
                                                 double (&factors)[count]) {
  static_assert(count <= width);
  const int lane = static_cast<int>(threadIdx.x) % width;
  int32_t own = norms[0];
#pragma unroll
  for (int r = 1; r < count; ++r) own = lane == r ? norms[r] : own;
  const double factor = residual_factor(own, clip);
#pragma unroll
  for (int r = 0; r < count; ++r) factors[r] = __shfl_sync(whole_warp, factor, r, width);
}

// Differences to their clipped residuals; all columns are in the registers of the group.
template <int width, int rows, int count>
__device__ __forceinline__ void clip_rows(int32_t (&values)[rows][count], const Clip& clip) {
  int32_t norms[rows];
  double factors[rows];
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    int32_t squares = 0;
#pragma unroll
    for (int e = 0; e < count; ++e) squares += values[r][e] * values[r][e];
    norms[r] = group_sum<width>(squares);
  }
  residual_factors<width>(norms, clip, factors);
#pragma unroll
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int e = 0; e < count; ++e) {
      values[r][e] = rounded_product(as_double(values[r][e]), factors[r]);
    }
    keep_in_ball<width>(values[r], clip.bound);
  }
}

// By all lanes of the warp.
template <class Columns>
__device__ __forceinline__ void flush(const RowSums& task, const Columns& columns, int64_t cell,
                                      const int32_t (&sums)[Columns::count]) {
  const int64_t group = task.group ? task.group[cell] : cell;
  if (task.summed == Summed::norms) {
    long long total = 0;
#pragma unroll
    for (int e = 0; e < Columns::count; ++e) total += sums[e];
    total = group_sum<32>(total);
    if (threadIdx.x % 32 == 0) atomicAdd(task.sums + group, static_cast<unsigned long long>(total));
    return;
  }
  unsigned long long* out = task.sums + group * task.d;
#pragma unroll
  for (int e = 0; e < Columns::count; ++e) {
    const auto sum = static_cast<unsigned long long>(static_cast<long long>(sums[e]));
    if (columns.at(e) < task.d && sum) atomicAdd(out + columns.at(e), sum);
  }
}

// Residuals of rows whose factors and steps are known; of no row: zeros.
template <int count>
__device__ __forceinline__ void clip_prepared(const Prepared& prepared, int32_t row, bool wanted,
                                              int32_t (&values)[count]) {
  const double factor = wanted ? prepared.factors[row] : 0.0;
  const int steps = wanted ? prepared.steps[row] : 0;
#pragma unroll
  for (int e = 0; e < count; ++e) {
    values[e] = after_steps(rounded_product(as_double(values[e]), factor), steps);
  }
}

// What the next rows of a cell, at positions from `position` to before `end`, add: 32 / width of
// them lie side by side in a warp, `rows` one after the other in each lane. All lanes take part.
template <int width, Rows kind, int rows, class Columns>
__device__ __forceinline__ void read_values(const RowSums& task, const Runs& runs,
                                            const Prepared& prepared, const Columns& columns,
                                            const int32_t (&centre)[Columns::count],
                                            int64_t position, int64_t end,
                                            int32_t (&values)[rows][Columns::count]) {
  bool wanted[rows];
  int32_t row[rows];
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const int64_t own = position + r * (32 / width) + static_cast<int>(threadIdx.x) % 32 / width;
    wanted[r] = own < end;
    row[r] = wanted[r] ? runs.groups.order[own] : 0;
  }
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    columns.load(task.codes + row[r] * task.d, wanted[r], values[r]);
  }
  if constexpr (kind != Rows::plain) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int e = 0; e < Columns::count; ++e) {
        values[r][e] = wanted[r] ? values[r][e] - centre[e] : 0;
      }
      if constexpr (kind == Rows::prepared) clip_prepared(prepared, row[r], wanted[r], values[r]);
    }
  }
  if constexpr (kind == Rows::clipped) clip_rows<width>(values, task.clip);
}

template <int width, int vectors, bool aligned, Rows kind>
__global__ void __launch_bounds__(block_threads)
    sum_runs(RowSums task, Runs runs, Prepared prepared) {
  using OwnColumns = Columns<width, vectors, aligned>;
  constexpr int count = OwnColumns::count, rows = kind == Rows::plain ? 4 : vectors > 2 ? 1 : 2;
  const OwnColumns columns(static_cast<int>(blockIdx.y), task.d);
  const int64_t run = int64_t{blockIdx.x} * block_warps + threadIdx.x / 32;
  const int64_t start = runs.first + run * runs.length;
  const int64_t last = min(int64_t{min(runs.end, *runs.groups.used)}, start + runs.length);
  const bool squares = kind != Rows::plain && task.summed != Summed::values;

  for (int64_t position = start; position < last;) {
    const int64_t cell = runs.cells[runs.groups.order[position]];
    const int64_t end = min(last, int64_t{runs.groups.ends[cell]});
    int32_t sums[count] = {}, centre[count] = {};
    if constexpr (kind != Rows::plain) columns.load(task.centres + cell * task.d, true, centre);
    for (; position < end; position += 32 / width * rows) {
      int32_t values[rows][count];
      read_values<width, kind>(task, runs, prepared, columns, centre, position, end, values);
#pragma unroll
      for (int r = 0; r < rows; ++r) {
#pragma unroll
        for (int e = 0; e < count; ++e) {
          sums[e] += squares ? values[r][e] * values[r][e] : values[r][e];
        }
      }
    }
    position = end;
    flush(task, columns, cell, sums);
  }
}

// Runs that keep every processor busy, in launches of some 10 ms.
template <int width, int vectors, bool aligned, Rows kind>
void launch_runs(const RowSums& task, const int32_t* cells, int64_t n, const RowGroups& groups,
                 const Prepared& prepared, const Execution& execution) {
  const int64_t tiles = divide_up(task.d, Columns<width, vectors, aligned>::tile);
  const int64_t warps = int64_t{device_limits().processors} * 128;
  const int64_t length = std::clamp<int64_t>(divide_up(n, warps), 32, longest_run);
  const int64_t step = divide_up(int64_t{1} << 32, task.d * length) * length;
  for (int64_t first = 0; first < n; first += step) {
    const int64_t end = std::min(first + step, n);
    const Runs runs{cells, groups, static_cast<int32_t>(first), static_cast<int32_t>(end),
                    static_cast<int32_t>(length)};
    launch(sum_runs<width, vectors, aligned, kind>,
           {divide_up(end - first, length * block_warps), tiles}, block_threads, 0, execution, task,
           runs, prepared);
  }
}

template <bool aligned>
void launch_widths(const RowSums& task, const int32_t* cells, int64_t n, const RowGroups& groups,
                   const Execution& execution) {
  auto all = [&](auto runs, const Prepared& prepared) {
    runs(task, cells, n, groups, prepared, execution);
  };
  const int64_t d = task.d;
  if (!task.centres) {
    all(d <= 64 ? launch_runs<8, 1, aligned, Rows::plain>
                : launch_runs<32, 2, aligned, Rows::plain>,
        {});
  } else if (d <= 1024) {
    all(d <= 64    ? launch_runs<8, 1, aligned, Rows::clipped>
        : d <= 512 ? launch_runs<32, 2, aligned, Rows::clipped>
                   : launch_runs<32, 4, aligned, Rows::clipped>,
        {});
  } else {
    const PreparedRows prepared(n, execution);
    prepare_residuals(task.codes, n, d, task.centres, cells, task.clip, prepared, execution);
    all(launch_runs<32, 2, aligned, Rows::prepared>,
        {prepared.factors.data(), prepared.steps.data()});
  }
}

}  // namespace

void add_row_sums(const RowSums& task, const int32_t* cells, int64_t n, const RowGroups& groups,
                  const Execution& execution) {
  const auto address = reinterpret_cast<std::uintptr_t>(task.codes);
  if (task.d % 8 == 0 && address % 16 == 0) {
    launch_widths<true>(task, cells, n, groups, execution);
  } else {
    launch_widths<false>(task, cells, n, groups, execution);
  }
}

}  // namespace cloister
