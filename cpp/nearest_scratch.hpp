// Memory of the nearest kernel: centres as the screen reads them, and the scratch of a thread.
#pragma once

#include <bit>
#include <memory>
#include <mutex>

#include "parallel.hpp"
#include "targets.hpp"

namespace cloister {

// Numbers that start a cache line, so that no vector of them straddles two.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t size) : storage_(std::make_unique<T[]>(room(size))) {}
  // Scratch that is written before it is read: pages that nobody needs are never touched.
  static AlignedBuffer uninitialised(int64_t size) {
    AlignedBuffer buffer;
    buffer.storage_ = std::make_unique_for_overwrite<T[]>(room(size));
    return buffer;
  }
  T* data() const {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.get());
    return storage_.get() + (line - address % line) % line / sizeof(T);
  }

 private:
  static constexpr size_t line = 64;
  static size_t room(int64_t size) { return static_cast<size_t>(size) + line / sizeof(T); }
  std::unique_ptr<T[]> storage_;
};

// How rows are shared out: tiles whose packed form, 256 KB, stays in a level-2 cache beside the
// centres at hand, and chunks of tiles, some 2^28 products or 5 ms between two polls for signals.
struct Tiles {
  int64_t rows, chunk, slots;

  Tiles(int64_t n, int64_t d, int64_t k, const Execution& execution) {
    constexpr int64_t panel_rows = 32;  // a multiple of every target's panel
    // A thread takes longer to start than 2^20 products do.
    const double products = double(n) * double(d) * double(k);
    const int64_t threads = std::min(execution.threads, 1 + int64_t(products * 0x1p-20));
    const int64_t share = (n + threads - 1) / threads;
    const int64_t most = (share + panel_rows - 1) / panel_rows * panel_rows;
    const int64_t fits = (int64_t{256} << 10) / d / panel_rows * panel_rows;
    rows = std::min(std::clamp(fits, panel_rows, nearest_tile_rows), most);
    const int64_t tiles = std::clamp<int64_t>((int64_t{1} << 28) / (rows * d * k), 1, 64);
    chunk = std::min(tiles * rows, most);
    slots = std::min(threads, (n + chunk - 1) / chunk);
  }

  // With a thread for each slot.
  Execution shared(const Execution& execution) const {
    return {slots, execution.stream, execution.interrupted};
  }
};

// The centres of a task in blocks.
class CentreBlocks {
 public:
  CentreBlocks(const NearestTask& task, Products products, const Execution& execution)
      : CentreBlocks(task.d, task.k, products, execution, [&](int64_t begin, int64_t, int64_t) {
          return task.centres + begin * task.d;
        }) {}

  // centres_at(begin, end, slot): those centres, which one thread wants until it asks again.
  template <class CentresAt>
  CentreBlocks(int64_t d, int64_t k, Products products, const Execution& execution,
               CentresAt&& centres_at) {
    view_.products = products;
    view_.width = block_width(k);
    view_.count = (k + view_.width - 1) / view_.width * view_.width;
    view_.steps = products == Products::int8 ? (d + 3) / 4 : d;
    blocks_ = AlignedBuffer<uint32_t>::uninitialised(view_.count * view_.steps);
    numbers_ = AlignedBuffer<float>::uninitialised(7 * view_.count);
    offsets_ = AlignedBuffer<int32_t>::uninitialised(2 * view_.count);
    view_.blocks = blocks_.data();
    view_.offsets = offsets_.data();
    view_.fine_offsets = view_.offsets + view_.count;
    if (products == Products::int8) {
      const int64_t size = k * padded_codes(d);
      codes_ = AlignedBuffer<int8_t>::uninitialised(2 * size);
      view_.codes = codes_.data();
      view_.fine_codes = view_.codes + size;
    }
    float* numbers = numbers_.data();
    for (float** array : {&view_.half_norms, &view_.scales, &view_.norms, &view_.errors,
                          &view_.fine_scales, &view_.fine_errors, &view_.code_norms}) {
      *array = numbers;
      numbers += view_.count;
    }
    const int64_t some = std::max<int64_t>(1, (int64_t{1} << 20) / (d * view_.width));
    parallel_for(view_.count, some * view_.width, execution,
                 [&](int64_t begin, int64_t end, int64_t slot) {
                   const float* centres = centres_at(begin, std::min(end, k), slot);
                   targets().prepare_centres(centres, d, k, begin, end, view_);
                 });
    view_.largest_norm = view_.largest_error = 0;
    for (int64_t j = 0; j < k; ++j) {
      view_.largest_norm = std::max(view_.largest_norm, view_.norms[j]);
      if (view_.errors[j] > 0) {
        view_.largest_error = std::max(view_.largest_error, view_.errors[j] / view_.norms[j]);
      }
    }
  }

  // Measures all distances between centres: worth it for many rows.
  void measure_centres(const NearestTask& task, const Execution& execution) {
    apart_ = AlignedBuffer<float>::uninitialised(task.k * task.k);
    view_.apart = apart_.data();
    parallel_for(task.k, 1 + (int64_t{1} << 20) / (task.k * task.d), execution,
                 [&](int64_t begin, int64_t end, int64_t) {
                   targets().measure_centres(view_, task.d, task.k, begin, end, apart_.data());
                 });
  }
  CentreBlocks(const CentreBlocks&) = delete;
  CentreBlocks& operator=(const CentreBlocks&) = delete;

  const ScreenedCentres& view() const { return view_; }

 private:
  // Wide blocks load a panel less often; but the last one is full of centres that nobody asked for.
  static int64_t block_width(int64_t k) {
    int64_t best = 1, least = INT64_MAX;
    for (int64_t width = 1; width <= targets().widest_block; ++width) {
      const int64_t cost = (k + width - 1) / width * (2 * width + 3);
      if (cost <= least) best = width, least = cost;
    }
    return best;
  }

  ScreenedCentres view_{};
  AlignedBuffer<uint32_t> blocks_;
  AlignedBuffer<float> numbers_;
  AlignedBuffer<int32_t> offsets_;
  AlignedBuffer<int8_t> codes_;
  AlignedBuffer<float> apart_;
};

// The scratch of one thread, allocated when it takes its first tile.
class ThreadScratch {
 public:
  // Returns whether this was the first time.
  bool allocate(int64_t rows, int64_t d, int64_t k, int64_t movers) {
    if (view_.packed) return false;
    const int64_t lanes = targets().lanes;
    const int64_t padded = (rows + 31) / 32 * 32;  // whole panels
    const int64_t vectors = padded / lanes;
    Candidates& found = view_.found;
    found.capacity = 2 * targets().widest_block + 1 + std::min<int64_t>(8192, 2 * vectors * k);
    const int64_t listed = std::max(tile_slot, longest_list + movers + 1);
    bytes_ = AlignedBuffer<uint8_t>::uninitialised(rows * padded_codes(d));
    words_ = AlignedBuffer<uint32_t>::uninitialised(padded * d);
    floats_ = AlignedBuffer<float>::uninitialised((9 + tile_slot) * padded + padded_codes(d) +
                                                  listed + 16 + found.capacity * lanes);
    integers_ = AlignedBuffer<int32_t>::uninitialised((7 + tile_slot) * padded + tile_waiting +
                                                      listed + 2 * found.capacity);
    view_.rows.codes = bytes_.data();
    view_.packed = words_.data();
    float* numbers = floats_.data();
    TileBounds& bounds = view_.bounds;
    for (float** array :
         {&bounds.scales, &bounds.slopes, &bounds.grounds, &bounds.reaches, &view_.rows.scales,
          &view_.rows.norms, &view_.rows.errors, &view_.distances, &view_.grounds}) {
      *array = numbers;
      numbers += padded;
    }
    view_.slot_lowers = numbers;
    view_.x = numbers + tile_slot * padded;
    view_.list_lowers = view_.x + padded_codes(d);
    found.lower = view_.list_lowers + (listed + 15) / 16 * 16;
    int32_t* integers = integers_.data();
    for (int32_t** array : {&view_.active, &view_.nearest, &labels_, &previous_, &view_.slot_counts,
                            &view_.waiting_rows, &view_.waiting_ends}) {
      *array = integers;
      integers += padded;
    }
    view_.slot_centres = integers;
    view_.list_centres = integers + tile_slot * padded;
    view_.waiting_candidates = view_.list_centres + listed;
    found.centre = view_.waiting_candidates + tile_waiting;
    found.vector = found.centre + found.capacity;
    return true;
  }

  NearestScratch& view() { return view_; }
  int32_t* labels() const { return labels_; }
  const int32_t* remember(const int32_t* labels, int64_t count) {
    std::copy(labels, labels + count, previous_);
    return previous_;
  }

  int64_t rows_done = 0;

 private:
  NearestScratch view_{};
  AlignedBuffer<uint8_t> bytes_;
  AlignedBuffer<uint32_t> words_;
  AlignedBuffer<float> floats_;
  AlignedBuffer<int32_t> integers_;
  int32_t* labels_ = nullptr;
  int32_t* previous_ = nullptr;
};

}  // namespace cloister
