#include "cells.hpp"
#include "group_rows.hpp"
#include "plane_products.hpp"
#include "row_sums.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256;
constexpr int64_t plane_caches = 8;  // the planes take so many times the cache

__global__ void find_groups(const int32_t* cells, int64_t n, const int64_t* group,
                            int32_t* groups) {
  const int64_t row = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (row < n) groups[row] = cells[row] < 0 ? -1 : static_cast<int32_t>(group[cells[row]]);
}

// Rows with their cells, and what belongs to the cells, on the device.
struct Rows {
  const int16_t* codes;
  int64_t n, d;
  const int32_t* cells;
  const int16_t* centres;
  const int64_t* group;
  Clip clip;

  Rows part(int64_t first, int64_t count) const {
    Rows out = *this;
    out.codes += first * d;
    out.cells += first;
    out.n = count;
    return out;
  }
};

// Rows in the order of their groups, cut into tiles, slices of one group, and batches that share
// the planes: each begins at place 0.
struct Batch {
  int64_t first_tile, tiles, first_slice, slices;
};
struct Plan {
  std::vector<PlaneTile> tiles;
  std::vector<PlaneSlice> slices;
  std::vector<Batch> batches;
  int64_t most_places = 0;
};

class Planner {
 public:
  Planner(int64_t most_places, int64_t most_of_slice)
      : most_places_(most_places), most_of_slice_(most_of_slice) {}

  void add(int32_t group, int32_t first, int32_t rows) {
    while (rows > 0) {
      if (place_ == most_places_) finish();
      const auto taken =
          static_cast<int32_t>(std::min({int64_t{rows}, most_of_slice_, most_places_ - place_}));
      const auto begin = static_cast<int32_t>(place_);
      for (int32_t i = 0; i < taken; i += places_of_tile) {
        plan_.tiles.push_back({first + i, std::min<int32_t>(taken - i, places_of_tile)});
        place_ += places_of_tile;
      }
      plan_.slices.push_back({group, begin, static_cast<int32_t>(place_)});
      first += taken;
      rows -= taken;
    }
  }
  Plan finished() {
    finish();
    return std::move(plan_);
  }

 private:
  void finish() {
    if (place_ == 0) return;
    Batch batch{0, place_ / places_of_tile, 0, 0};
    if (!plan_.batches.empty()) {
      const Batch& last = plan_.batches.back();
      batch.first_tile = last.first_tile + last.tiles;
      batch.first_slice = last.first_slice + last.slices;
    }
    batch.slices = static_cast<int64_t>(plan_.slices.size()) - batch.first_slice;
    plan_.batches.push_back(batch);
    plan_.most_places = std::max(plan_.most_places, place_);
    place_ = 0;
  }

  int64_t most_places_, most_of_slice_, place_ = 0;
  Plan plan_;
};

Plan plan_of(const RowGrouping& grouping, int64_t d, const Execution& execution) {
  const std::vector<int32_t> counts = grouping.counts(execution), ends = grouping.ends(execution);
  const int64_t bytes = plane_caches * device_limits().cache_bytes;
  const int64_t places = bytes / (planes * d) / places_of_tile * places_of_tile;
  const int64_t most = std::clamp(places, places_of_tile, longest_slice);
  const int64_t share = divide_up(divide_up(most, slices_at_once(d, d, true)), places_of_tile);
  Planner planner(most, share * places_of_tile);
  for (size_t g = 0; g < counts.size(); ++g) {
    planner.add(static_cast<int32_t>(g), ends[g] - counts[g], counts[g]);
  }
  return planner.finished();
}

// The full moments of rows that are sorted together.
void add_full_moments(const Rows& rows, RowGrouping& grouping, unsigned long long* out, Pace& pace,
                      const Execution& execution) {
  const cudaStream_t stream = stream_of(execution);
  const Scratch<int32_t> groups(rows.n, stream);
  launch(find_groups, {divide_up(rows.n, block_threads)}, block_threads, 0, execution, rows.cells,
         rows.n, rows.group, groups.data());
  const RowGroups sorted = grouping.group(groups.data(), rows.n, execution);
  const PreparedRows prepared(rows.n, execution);
  prepare_residuals(rows.codes, rows.n, rows.d, rows.centres, rows.cells, rows.clip, prepared,
                    execution);
  const Plan plan = plan_of(grouping, rows.d, execution);
  const auto tiles =
      uploaded(plan.tiles.data(), static_cast<int64_t>(plan.tiles.size()), execution);
  const auto slices =
      uploaded(plan.slices.data(), static_cast<int64_t>(plan.slices.size()), execution);
  const Scratch<int8_t> columns(planes * rows.d * plan.most_places, stream);
  for (const Batch& batch : plan.batches) {
    write_residual_planes(
        {rows.codes, rows.d, rows.centres, rows.cells, sorted.order, prepared.factors.data(),
         prepared.steps.data(), tiles.data() + batch.first_tile, 0, columns.data(),
         plan.most_places, nullptr, 0},
        batch.tiles, execution);
    add_plane_products({columns.data(), columns.data(), rows.d, rows.d, plan.most_places, true,
                        slices.data() + batch.first_slice, plan.most_places, out},
                       batch.slices, execution);
    pace.step();
  }
  wait(execution);  // the plan is the source of copies
}

void add_moments(const Rows& rows, RowGrouping& grouping, Moment moment, unsigned long long* out,
                 Pace& pace, const Execution& execution) {
  if (moment == Moment::full) {
    add_full_moments(rows, grouping, out, pace, execution);
    return;
  }
  const RowGroups by_cell = grouping.group(rows.cells, rows.n, execution);
  const Summed summed = moment == Moment::diagonal ? Summed::squares : Summed::norms;
  add_row_sums({rows.codes, rows.d, rows.centres, rows.clip, rows.group, summed, out}, rows.cells,
               rows.n, by_cell, execution);
  pace.step();
}

}  // namespace

void moments(const int16_t* codes, int64_t n, int64_t d, Partition partition, Clip clip,
             const int64_t* group, Moment moment, int64_t* out, Execution execution) {
  const cudaStream_t stream = stream_of(execution);
  const int64_t all_cells = partition.classes * partition.k;
  const int64_t groups = 1 + *std::max_element(group, group + all_cells);
  const Scratch<int32_t> cells(n, stream);
  assign_cells(codes, n, d, partition, cells.data(), execution);
  const auto centres = uploaded(partition.centres, all_cells * d, execution);
  const auto group_of = uploaded(group, all_cells, execution);
  const int64_t size = moment == Moment::full       ? d * (d + 1) / 2
                       : moment == Moment::diagonal ? d
                                                    : 1;
  const Scratch<unsigned long long> totals(groups * size, stream);
  totals.clear();
  const Rows rows{codes, n, d, cells.data(), centres.data(), group_of.data(), clip};
  RowGrouping grouping(n, moment == Moment::full ? groups : all_cells, execution);
  Pace pace(execution);
  const int64_t part = most_grouped_rows();
  for (int64_t first = 0; first < n; first += part) {
    add_moments(rows.part(first, std::min(part, n - first)), grouping, moment, totals.data(), pace,
                execution);
  }
  add_to_host(out, totals, execution);
}

}  // namespace cloister
