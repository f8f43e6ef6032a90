// What screens leave, for tests of their bounds (test_device_screen.py, by ctypes).
#include "../../cuda/cell_planes.hpp"
#include "../../cuda/near_centres.hpp"

namespace cloister {
namespace {

const Execution execution{1, 0, nullptr};

// listed[i, j]: whether centre j may be the one for row i; counts[i]: how many there are, or more
// than list_capacity where the list is not complete.
void report(const CandidateLists& lists, int64_t n, int64_t k, uint8_t* listed, int32_t* counts) {
  std::vector<Candidate> entries(size_t(n * list_capacity));
  std::vector<float> limits(static_cast<size_t>(n));
  wait(execution);
  check(cudaMemcpy(entries.data(), lists.entries, entries.size() * sizeof(Candidate),
                   cudaMemcpyDeviceToHost));
  check(cudaMemcpy(limits.data(), lists.limits, limits.size() * 4, cudaMemcpyDeviceToHost));
  check(cudaMemcpy(counts, lists.counts, limits.size() * 4, cudaMemcpyDeviceToHost));
  for (int64_t i = 0; i < n; ++i) {
    const bool is_complete = counts[i] <= list_capacity;
    std::fill(listed + i * k, listed + (i + 1) * k, !is_complete);
    if (!is_complete) continue;
    const Candidate* list = entries.data() + i * list_capacity;
    int32_t left = 0;
    for (int32_t place = 0; place < counts[i]; ++place) {
      if (list[place].lower > limits[size_t(i)]) continue;
      listed[i * k + list[place].centre] = 1;
      ++left;
    }
    counts[i] = left;
  }
}

}  // namespace

extern "C" void list_cells(const int16_t* codes, int64_t n, int64_t d, const int16_t* centres,
                           int64_t k, uint8_t* listed, int32_t* counts) {
  const auto device_codes = uploaded(codes, n * d, execution);
  const auto device_centres = uploaded(centres, k * d, execution);
  const CellCentres prepared = cell_centres(device_centres.data(), d, k, 1, execution);
  std::vector<RowTile> tiles;
  for (int64_t row = 0; row < n; row += screen_tile_rows) {
    tiles.push_back({0, int32_t(row), int32_t(std::min<int64_t>(screen_tile_rows, n - row))});
  }
  const auto count = int64_t(tiles.size());
  const auto device_tiles = uploaded(tiles.data(), count, execution);
  const CellRows rows{{n * prepared.stride, nullptr}, {n, nullptr}};
  fill_cell_rows(device_codes.data(), prepared, device_tiles.data(), count, rows, execution);
  const Scratch<Candidate> entries(n * list_capacity, nullptr);
  const Scratch<int32_t> list_counts(n, nullptr);
  const Scratch<float> limits(n, nullptr);
  const CandidateLists lists{entries.data(), list_counts.data(), limits.data()};
  screen(Products::int8,
         {n, rows.bytes.data(), rows.terms.data(), prepared.bytes.data(), prepared.terms.data(),
          prepared.stride, prepared.padded_k, lists},
         device_tiles.data(), count, device_limits(), execution);
  report(lists, n, k, listed, counts);
}

extern "C" void list_near_centres(const float* rows, int64_t n, int64_t d, const float* shift,
                                  const float* centres, int64_t k, uint8_t* listed,
                                  int32_t* counts) {
  const auto device_rows = uploaded(rows, n * d, execution);
  const auto device_shift = uploaded(shift, d, execution);
  const auto device_centres = uploaded(centres, k * d, execution);
  NearCentres near(device_centres.data(), k, d, device_shift.data(), n, execution);
  for (int64_t first = 0; first < n; first += near.chunk_rows()) {
    const int64_t count = std::min(near.chunk_rows(), n - first);
    report(near.find(device_rows.data() + first * d, count), count, k, listed + first * k,
           counts + first);
  }
}

}  // namespace cloister
