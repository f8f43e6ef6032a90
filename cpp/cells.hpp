// What tally and moments share: the centres of one class, prepared for the loops, and the scratch
// of a thread.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "nearest_scratch.hpp"

namespace cloister {

class ClassCentres {
 public:
  ClassCentres(const int16_t* codes, int64_t n, int64_t d, const int16_t* centres, int64_t k,
               const Execution& execution)
      : task_{codes, d, centres, nullptr, nullptr, nullptr, k, nullptr, 0, nullptr} {
    const int64_t pairs = (d + 1) / 2;
    pairs_ = AlignedBuffer<int32_t>::uninitialised(k * pairs);
    norms_.assign(static_cast<size_t>(k), 0);
    parallel_for(k, (int64_t{1} << 20) / d + 1, execution, [&](int64_t from, int64_t to, int64_t) {
      for (int64_t j = from; j < to; ++j) {
        const int16_t* centre = centres + j * d;
        pairs_.data()[(j + 1) * pairs - 1] = 0;
        std::memcpy(pairs_.data() + j * pairs, centre, static_cast<size_t>(d) * sizeof(int16_t));
        int32_t norm_squared = 0;
        for (int64_t i = 0; i < d; ++i) norm_squared += centre[i] * centre[i];
        norms_[static_cast<size_t>(j)] = norm_squared;
      }
    });
    task_.centre_pairs = pairs_.data();
    task_.centre_norms = norms_.data();
    if (n >= fewest_rows && d >= fewest_features && k >= fewest_centres && targets().prefers_int8) {
      screen(execution);
    } else if (d >= 2 * targets().lanes && k <= std::min(few_centres, d / 4)) {
      // Packing the rows would cost more than it saves.
      lay_out_vectors();
    }
  }
  ClassCentres(const ClassCentres&) = delete;
  ClassCentres& operator=(const ClassCentres&) = delete;

  const CellTask& task() const { return task_; }

  // Rows whose packed form stays in a level-2 cache, in whole panels of every target.
  int64_t tile_rows() const {
    const int64_t fitting = (int64_t{256} << 10) / (2 * task_.d) / 32 * 32;
    return std::clamp<int64_t>(fitting, 32, cell_tile_rows);
  }

  // Tiles that keep a chunk near 10 ms at some 10^10 products a second.
  int64_t chunk(int64_t n, const Execution& execution) const {
    const int64_t rows = (int64_t{1} << 27) / (task_.d * task_.k);
    const int64_t share = n / (8 * execution.threads);
    const int64_t tiles = std::min(rows, share) / tile_rows();
    return tile_rows() * std::clamp<int64_t>(tiles, 1, 32);
  }

 private:
  // Fewer would not make up for the codes of the rows, or of the centres.
  static constexpr int64_t fewest_rows = 512, fewest_features = 32, fewest_centres = 32;
  static constexpr int64_t few_centres = 48;

  void lay_out_vectors() {
    const int64_t d = task_.d, width = 2 * targets().lanes, whole = d / width * width;
    const int64_t stride = (d + width - 1) / width * width;
    vectors_ = AlignedBuffer<int16_t>(task_.k * stride);
    for (int64_t j = 0; j < task_.k; ++j) {
      const int16_t* centre = task_.centres + j * d;
      std::copy(centre, centre + whole, vectors_.data() + j * stride);
      std::copy(centre + whole, centre + d, vectors_.data() + j * stride + stride - (d - whole));
    }
    task_.centre_vectors = vectors_.data();
  }

  // The rounded mean of the centres, but so that rows less the shift fit int16.
  void find_shift(int64_t centres_at_a_time, const Execution& execution) {
    const int64_t d = task_.d, k = task_.k;
    shift_.resize(static_cast<size_t>(d));
    std::vector<int64_t> sums(static_cast<size_t>(d * execution.threads), 0);
    parallel_for(k, centres_at_a_time, execution, [&](int64_t from, int64_t to, int64_t slot) {
      int64_t* own = sums.data() + slot * d;
      for (int64_t j = from; j < to; ++j) {
        for (int64_t t = 0; t < d; ++t) own[t] += task_.centres[j * d + t];
      }
    });
    for (int64_t t = 0; t < d; ++t) {
      int64_t sum = 0;
      for (int64_t slot = 0; slot < execution.threads; ++slot) {
        sum += sums[static_cast<size_t>(slot * d + t)];
      }
      shift_[static_cast<size_t>(t)] =
          static_cast<int16_t>(std::clamp<int64_t>(sum / k, -(1 << 13), 1 << 13));
    }
  }

  void screen(const Execution& execution) {
    const int64_t d = task_.d, k = task_.k;
    find_shift((int64_t{1} << 20) / d + 1, execution);
    std::vector<std::vector<float>> points(static_cast<size_t>(execution.threads));
    auto shifted_centres = [&](int64_t from, int64_t to, int64_t slot) {
      std::vector<float>& own = points[static_cast<size_t>(slot)];
      own.resize(static_cast<size_t>((to - from) * d));
      float* point = own.data();
      for (const int16_t* centre = task_.centres + from * d; centre < task_.centres + to * d;) {
        for (int64_t t = 0; t < d; ++t) {
          *point++ = static_cast<float>(*centre++ - shift_[static_cast<size_t>(t)]);
        }
      }
      return static_cast<const float*>(own.data());
    };
    blocks_ = std::make_unique<CentreBlocks>(d, k, Products::int8, execution, shifted_centres);
    task_.shift = shift_.data();
    for (const int64_t coordinate : shift_) task_.shift_norm += coordinate * coordinate;
    task_.screened = &blocks_->view();
  }

  CellTask task_;
  AlignedBuffer<int32_t> pairs_;  // coordinates 2t, 2t + 1 in one word, zero past the end
  std::vector<int32_t> norms_;
  AlignedBuffer<int16_t> vectors_;
  std::vector<int16_t> shift_;
  std::unique_ptr<CentreBlocks> blocks_;
};

// The scratch of one thread, allocated when it takes its first tile.
class CellSpace {
 public:
  CellScratch& view(const ClassCentres& centres, Checkpoint& checkpoint) {
    if (!view_.packed) allocate(centres);
    view_.checkpoint = &checkpoint;
    return view_;
  }
  int32_t* cells() { return cells_; }

 private:
  void allocate(const ClassCentres& centres) {
    const CellTask& task = centres.task();
    const int64_t rows = centres.tile_rows(), lanes = targets().lanes;
    words_ = AlignedBuffer<uint32_t>::uninitialised(rows * ((task.d + 1) / 2));
    view_.packed = words_.data();
    Candidates& found = view_.found;
    if (task.screened) {
      found.capacity = 2 * targets().widest_block + 1 + std::min<int64_t>(4096, rows * task.k);
      codes_ = AlignedBuffer<uint8_t>::uninitialised(rows * padded_codes(task.d));
      view_.codes = codes_.data();
    }
    floats_ = AlignedBuffer<float>::uninitialised(5 * rows + found.capacity * lanes);
    integers_ = AlignedBuffer<int32_t>(6 * rows + 2 * found.capacity);
    float* numbers = floats_.data();
    TileBounds& bounds = view_.bounds;
    for (float** array :
         {&bounds.scales, &bounds.slopes, &bounds.grounds, &bounds.reaches, &view_.least}) {
      *array = numbers;
      numbers += rows;
    }
    found.lower = numbers;
    int32_t* integers = integers_.data();
    for (int32_t** array :
         {&view_.order, &view_.counts, &view_.likeliest, &view_.scores, &view_.cells, &cells_}) {
      *array = integers;
      integers += rows;
    }
    found.centre = integers;
    found.vector = integers + found.capacity;
    for (int64_t i = 0; i < rows; ++i) view_.order[i] = static_cast<int32_t>(i);
  }

  CellScratch view_{};
  AlignedBuffer<uint32_t> words_;
  AlignedBuffer<uint8_t> codes_;
  AlignedBuffer<float> floats_;
  AlignedBuffer<int32_t> integers_;
  int32_t* cells_ = nullptr;
};

}  // namespace cloister
