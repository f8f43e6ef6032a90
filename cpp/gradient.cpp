#include <algorithm>
#include <atomic>
#include <vector>

#include "nearest_scratch.hpp"
#include "parallel.hpp"
#include "zeroed_table.hpp"

namespace cloister {
namespace {

// Rows are clipped, scored and made residuals in groups that stay in a level-2 cache. A tile of
// them is multiplied at once: a longer one where the table that it adds to does not stay there.
struct Sizes {
  int64_t group, tile, chunk, threads;

  Sizes(int64_t n, int64_t d, int64_t classes, const Execution& execution) {
    constexpr int64_t cached = int64_t{1} << 18, rounded = 16;
    const int64_t in_cache = std::max(rounded, cached / (2 * d) / rounded * rounded);
    const int64_t table_bytes = 8 * classes * d;
    // With many features a long tile would be more memory to touch than its products are worth.
    const int64_t longest = std::max(2 * in_cache, (int64_t{1} << 22) / d);
    const int64_t wanted = table_bytes > 2 * cached ? longest : 2 * in_cache;
    tile = std::min(wanted, gradient_tile_rows);
    const int64_t rows = products_between_polls / (d * classes) + 1;
    group = std::min({in_cache, gradient_stride, (rows + rounded - 1) / rounded * rounded});
    const int64_t share = n / (8 * execution.threads);
    chunk = tile * std::max<int64_t>(1, std::min(rows, share) / tile);
    threads = threads_with_tables(execution, n, chunk, table_bytes);
  }

  static constexpr int64_t products_between_polls = int64_t{1} << 27;
};

// What one thread needs for a tile. Residuals past the end of a tile are multiplied by zeros, but
// they are read: everything here starts as zeros.
struct Workspace {
  Workspace(const Sizes& sizes, int64_t d, const SoftmaxTask& task)
      : rows(sizes.tile * task.padded_d),
        packed((sizes.tile + 1) / 2 * task.padded_d),
        scores(sizes.group * task.classes),
        labels(gradient_stride),
        exponentials(8 * task.classes),
        codes(gradient_stride * task.classes),
        table(task.classes * d) {}
  AlignedBuffer<int16_t> rows;
  AlignedBuffer<int32_t> packed, scores, labels;
  AlignedBuffer<double> exponentials;
  AlignedBuffer<int16_t> codes;
  ZeroedTable<int64_t> table;
};

class Gradient {
 public:
  Gradient(const int16_t* codes, int64_t d, const int64_t* offsets, int64_t classes,
           const SoftmaxRegression& model, const Execution& execution)
      : codes_(codes),
        d_(d),
        padded_d_((d + gradient_padding - 1) / gradient_padding * gradient_padding),
        offsets_(offsets),
        model_(model),
        weights_(classes * padded_d_),
        task_{weights_.data(), classes, padded_d_, model.scale, model.bias, model.residual_clip},
        sizes_(offsets[classes] - offsets[0], d, classes, execution),
        execution_{sizes_.threads, execution.stream, execution.interrupted} {
    for (int64_t j = 0; j < classes; ++j) {
      std::copy_n(model.weights + j * d, d, weights_.data() + j * padded_d_);
    }
  }
  Gradient(const Gradient&) = delete;
  Gradient& operator=(const Gradient&) = delete;

  void add_to(int64_t* out) {
    std::vector<Workspace> spaces;
    for (int64_t slot = 0; slot < sizes_.threads; ++slot) spaces.emplace_back(sizes_, d_, task_);
    const int64_t first = offsets_[0], n = offsets_[task_.classes] - first;
    parallel_for(n, sizes_.chunk, execution_, [&](int64_t begin, int64_t end, int64_t slot) {
      for (int64_t i = begin; i < end; i += sizes_.tile) {
        add_tile(first + i, first + std::min(i + sizes_.tile, end), slot,
                 spaces[static_cast<size_t>(slot)]);
      }
    });
    const int64_t entries = task_.classes * d_;
    parallel_for(entries, int64_t{1} << 20, execution_, [&](int64_t begin, int64_t end, int64_t) {
      for (const Workspace& space : spaces) {
        for (int64_t i = begin; i < end; ++i) {  // unsigned: sums wrap modulo 2^64 by contract
          out[i] = static_cast<int64_t>(static_cast<uint64_t>(out[i]) +
                                        static_cast<uint64_t>(space.table.data()[i]));
        }
      }
    });
  }

 private:
  void add_tile(int64_t begin, int64_t end, int64_t slot, Workspace& space) {
    for (int64_t first = begin; first < end; first += sizes_.group) {
      const int64_t count = std::min(sizes_.group, end - first);
      residuals_of_group(first, count, space, space.rows.data() + (first - begin) * padded_d_,
                         space.codes.data() + (first - begin));
      poll(slot, count * d_ * task_.classes);
    }
    const int64_t m = end - begin;
    targets().pack_residuals(space.rows.data(), m, padded_d_, space.packed.data());
    // By bands, so that neither a signal waits long nor the residuals of a tile leave the cache.
    const int64_t columns = Sizes::products_between_polls / (m * task_.classes);
    const int64_t band = (columns / gradient_padding + 1) * gradient_padding;
    for (int64_t column = 0; column < d_; column += band) {
      const int64_t last = std::min(column + band, d_);
      targets().add_class_products(space.packed.data(), space.codes.data(), m, task_.classes, d_,
                                   column, last, space.table.data());
      poll(slot, m * (last - column) * task_.classes);
    }
  }

  // The clipped rows and the clipped residuals of `count` rows.
  void residuals_of_group(int64_t first, int64_t count, Workspace& space, int16_t* rows,
                          int16_t* codes) const {
    int64_t label = std::upper_bound(offsets_, offsets_ + task_.classes, first) - offsets_ - 1;
    for (int64_t i = 0; i < count; ++i) {
      while (offsets_[label + 1] <= first + i) ++label;
      space.labels.data()[i] = static_cast<int32_t>(label);
      targets().clip_residual(codes_ + (first + i) * d_, model_.centre, d_, model_.row_clip,
                              rows + i * padded_d_);
    }
    targets().score_classes(task_, rows, count, space.scores.data(), sizes_.group);
    targets().softmax_codes(task_, space.scores.data(), sizes_.group, count, space.labels.data(),
                            space.exponentials.data(), codes);
  }

  // After work that is long enough; only the calling thread may ask.
  void poll(int64_t slot, int64_t products) {
    if (slot == 0 && execution_.interrupted) {
      unpolled_ += products;
      if (unpolled_ >= Sizes::products_between_polls) {
        unpolled_ = 0;
        if (execution_.interrupted()) stop_ = true;
      }
    }
    if (stop_) throw Interrupted();
  }

  const int16_t* codes_;
  int64_t d_, padded_d_;
  const int64_t* offsets_;
  SoftmaxRegression model_;
  AlignedBuffer<int16_t> weights_;  // rows padded with zeros
  SoftmaxTask task_;
  Sizes sizes_;
  Execution execution_;
  std::atomic<bool> stop_{false};
  int64_t unpolled_ = 0;  // products since the calling thread asked
};

}  // namespace

void gradient(const int16_t* codes, int64_t, int64_t d, const int64_t* offsets, int64_t classes,
              SoftmaxRegression model, int64_t* out, Execution execution) {
  Gradient(codes, d, offsets, classes, model, execution).add_to(out);
}

}  // namespace cloister
