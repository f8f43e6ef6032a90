#include "nearest_scratch.hpp"
#include "zeroed_table.hpp"

namespace cloister {
namespace {

// int8 products must save more than the codes of a row cost.
constexpr int64_t fewest_features = 32, fewest_centres = 8;
constexpr int64_t most_features = int64_t{1} << 17;  // 127^2 times as many fits int32

Products choose_products(const NearestTask& task) {
  if (task.screened.codes) return Products::int8;
  const bool pays = screens_by_codes(task.d, task.k) && task.k >= fewest_centres;
  return pays ? Products::int8 : Products::float32;
}

// Integer sums in several tables, added up at the end: the total is the same whichever table took
// which rows. One table a thread, unless they would take too much memory: then threads share them
// under a lock, which is held for a small part of the time because k is large.
class SumTables {
 public:
  SumTables(int64_t k, int64_t d, int64_t threads)
      : k_(k),
        d_(d),
        size_((k * (d + 2) + 8) / 8 * 8),  // whole cache lines
        count_(std::clamp<int64_t>(budget / size_, 1, threads)),
        values_(count_ * size_),
        locks_(std::make_unique<std::mutex[]>(static_cast<size_t>(count_))) {}

  // add(sums, rows, masses), with one table locked.
  template <class Add>
  void with_table(int64_t slot, Add&& add) {
    const std::lock_guard<std::mutex> guard(locks_[static_cast<size_t>(slot % count_)]);
    uint64_t* table = values_.data() + slot % count_ * size_;
    add(table, table + k_ * d_, table + k_ * (d_ + 1));
  }

  void add_to(const Nearest& out, int64_t begin, int64_t end) const {
    auto add = [](int64_t& total, uint64_t value) {
      total = static_cast<int64_t>(static_cast<uint64_t>(total) + value);
    };
    const auto magic = std::bit_cast<uint64_t>(rounding_magic);
    for (int64_t slot = 0; slot < count_; ++slot) {
      const uint64_t* table = values_.data() + slot * size_;
      for (int64_t j = begin; j < end; ++j) {
        const uint64_t rows = table[k_ * d_ + j];
        if (out.counts) add(out.counts[j], table[k_ * (d_ + 1) + j]);
        if (!out.sums) continue;
        for (int64_t t = j * d_; t < (j + 1) * d_; ++t) add(out.sums[t], table[t] - rows * magic);
      }
    }
  }

 private:
  static constexpr int64_t budget = int64_t{1} << 25;  // numbers of 8 bytes in all tables
  int64_t k_, d_, size_, count_;
  ZeroedTable<uint64_t> values_;  // of each table: sums, rows, masses
  std::unique_ptr<std::mutex[]> locks_;
};

// Both ways to screen: codes where they pay, until they leave too many candidates.
class Screens {
 public:
  Screens(const NearestTask& task, int64_t n, const Execution& execution)
      : task_(task), execution_(execution), first_(task, choose_products(task), execution) {
    const bool pays = k_is_small(task.k) && n > 16 * task.k;
    if (first_.view().products == Products::int8 && pays) first_.measure_centres(task, execution);
  }

  // A table of all distances between centres stays in a level-2 cache.
  static bool k_is_small(int64_t k) { return k <= 400; }

  // Only the calling thread may ask for signals, so it alone prepares the second screen; until then
  // the others make do with the first.
  const ScreenedCentres& choose(const NearestScratch& scratch, int64_t rows_done, int64_t slot) {
    const ScreenedCentres& first = first_.view();
    if (first.products == Products::float32) return first;
    // A measured pair costs about twice one of a float32 screen, an int8 product a quarter.
    if (8 * scratch.measured <= 3 * rows_done * task_.k) return first;
    if (slot == 0 && !second_) {
      const Execution alone{1, execution_.stream, execution_.interrupted};
      second_ = std::make_unique<CentreBlocks>(task_, Products::float32, alone);
      prepared_ = second_.get();
    }
    const CentreBlocks* second = prepared_;
    return second ? second->view() : first;
  }

 private:
  const NearestTask& task_;
  const Execution& execution_;
  CentreBlocks first_;
  std::unique_ptr<CentreBlocks> second_;
  std::atomic<const CentreBlocks*> prepared_{nullptr};
};

}  // namespace

void nearest(const float* rows, int64_t n, int64_t d, const float* shift, const double* weights,
             ScreenedRows screened, Neighbours neighbours, const float* centres, int64_t k,
             Nearest out, Execution execution) {
  if (n == 0) return;
  const std::vector<float> zeros(shift ? 0 : static_cast<size_t>(d));
  const NearestTask task{rows,     d,         shift ? shift : zeros.data(), weights, centres, k,
                         screened, neighbours};
  const bool wants_sums = out.sums || out.counts;
  const Tiles tiles(n, d, k, execution);
  Screens screens(task, n, execution);
  SumTables tables(wants_sums ? k : 0, d, tiles.slots);
  std::vector<ThreadScratch> scratch(static_cast<size_t>(tiles.slots));
  std::atomic<int64_t> moved{0};
  parallel_for(n, tiles.chunk, tiles.shared(execution),
               [&](int64_t from, int64_t to, int64_t slot, Checkpoint& checkpoint) {
                 ThreadScratch& mine = scratch[static_cast<size_t>(slot)];
                 if (mine.allocate(tiles.rows, d, k, neighbours.movers) && neighbours.lists)
                   mine.view().slack = *neighbours.slack;
                 mine.view().checkpoint = &checkpoint;
                 for (int64_t begin = from; begin < to; begin += tiles.rows) {
                   const int64_t end = std::min(begin + tiles.rows, to);
                   int32_t* labels = out.labels ? out.labels + begin : mine.labels();
                   const int32_t* previous =
                       out.updates ? mine.remember(labels, end - begin) : nullptr;
                   targets().nearest_rows(task, screens.choose(mine.view(), mine.rows_done, slot),
                                          begin, end, mine.view(), out.updates, labels);
                   mine.rows_done += end - begin;
                   if (out.distances) {
                     targets().label_distances(task, begin, end, labels, out.distances + begin);
                   }
                   if (!wants_sums) continue;
                   tables.with_table(slot, [&](uint64_t* sums, uint64_t* counts, uint64_t* masses) {
                     moved += targets().add_moved_rows(
                         task, begin, end, labels, previous,
                         {sums, counts, masses, out.sum_scale, out.count_scale});
                   });
                 }
               });
  if (wants_sums) {
    const int64_t step = std::max<int64_t>(1, (int64_t{1} << 20) / d);
    parallel_for(k, step, execution,
                 [&](int64_t begin, int64_t end, int64_t) { tables.add_to(out, begin, end); });
  }
  if (neighbours.builds) {  // of any thread that had a share
    const auto first = std::find_if(scratch.begin(), scratch.end(), [](ThreadScratch& each) {
      return each.view().packed != nullptr;
    });
    *neighbours.slack = first->view().slack;
  }
  if (out.moved) *out.moved = moved;
  if (out.recalled) {
    *out.recalled = 0;
    for (ThreadScratch& each : scratch) *out.recalled += each.view().recalled;
  }
}

bool screens_by_codes(int64_t d, int64_t k) {
  return targets().prefers_int8 && d >= fewest_features && d <= most_features && k >= 2;
}

void screen_rows(const float* rows, int64_t n, int64_t d, const float* shift, ScreenedRows out,
                 Execution execution) {
  const std::vector<float> zeros(shift ? 0 : static_cast<size_t>(d));
  const NearestTask task{rows, d, shift ? shift : zeros.data(), nullptr, nullptr, 0, {}, {}};
  const int64_t stride = padded_codes(d);
  parallel_for(n, std::max<int64_t>(1, (int64_t{1} << 18) / d), execution,
               [&](int64_t begin, int64_t end, int64_t) {
                 targets().encode_nearest_rows(task, begin, end,
                                               {out.codes + begin * stride, out.scales + begin,
                                                out.norms + begin, out.errors + begin});
               });
}

void all_distances(const float* rows, int64_t n, int64_t d, const float* shift,
                   const float* centres, int64_t k, float* out, Execution execution) {
  if (n == 0) return;
  const std::vector<float> zeros(shift ? 0 : static_cast<size_t>(d));
  const NearestTask task{rows, d, shift ? shift : zeros.data(), nullptr, centres, k, {}, {}};
  const CentreBlocks blocks(task, Products::float32, execution);
  const Tiles tiles(n, d, k, execution);
  std::vector<ThreadScratch> scratch(static_cast<size_t>(tiles.slots));
  parallel_for(n, tiles.chunk, tiles.shared(execution),
               [&](int64_t from, int64_t to, int64_t slot, Checkpoint& checkpoint) {
                 ThreadScratch& mine = scratch[static_cast<size_t>(slot)];
                 mine.allocate(tiles.rows, d, k, 0);
                 mine.view().checkpoint = &checkpoint;
                 for (int64_t begin = from; begin < to; begin += tiles.rows) {
                   const int64_t end = std::min(begin + tiles.rows, to);
                   targets().all_distances_rows(task, blocks.view(), begin, end, mine.view(),
                                                out + begin * k);
                 }
               });
}

}  // namespace cloister
