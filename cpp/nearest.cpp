#include <bit>
#include <memory>
#include <mutex>

#include "parallel.hpp"
#include "targets.hpp"

namespace cloister {
namespace {

constexpr int64_t panel_rows = 32;      // a multiple of every target's panel
constexpr int64_t block_multiple = 60;  // a multiple of every target's block of centres

// Rows whose packed form, 256 KB, stays in a level-2 cache beside the rows, a block of centres and
// the sums.
int64_t tile_rows(int64_t d) {
  const int64_t fits = (int64_t{256} << 10) / (int64_t{4} * d);
  return std::clamp(fits / panel_rows * panel_rows, panel_rows, nearest_tile_rows);
}

// Numbers that start a cache line, so that no vector of them straddles two.
template <class T>
class AlignedBuffer {
 public:
  explicit AlignedBuffer(int64_t size)
      : storage_(std::make_unique<T[]>(static_cast<size_t>(size) + line / sizeof(T))) {}
  T* data() const {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.get());
    return storage_.get() + (line - address % line) % line / sizeof(T);
  }

 private:
  static constexpr size_t line = 64;
  std::unique_ptr<T[]> storage_;
};

// Integer sums in several tables, added up at the end: the total is the same whichever table took
// which rows. One table a thread, unless they would take too much memory: then threads share them
// under a lock, which is held for a small part of the time because k is large.
class SumTables {
 public:
  SumTables(int64_t k, int64_t d, int64_t threads)
      : k_(k),
        d_(d),
        size_((k * (d + 1) + 8) / 8 * 8),  // whole cache lines
        count_(std::clamp<int64_t>(budget / size_, 1, threads)),
        values_(count_ * size_),
        locks_(std::make_unique<std::mutex[]>(static_cast<size_t>(count_))) {}

  // add(counts, sums), with one table locked.
  template <class Add>
  void with_table(int64_t slot, Add&& add) {
    const std::lock_guard<std::mutex> guard(locks_[static_cast<size_t>(slot % count_)]);
    uint64_t* table = values_.data() + slot % count_ * size_;
    add(table + k_ * d_, table);
  }

  void add_to(int64_t* counts, int64_t* sums) const {
    auto add = [](int64_t& total, uint64_t value) {
      total = static_cast<int64_t>(static_cast<uint64_t>(total) + value);
    };
    const auto magic = std::bit_cast<uint64_t>(rounding_magic);
    for (int64_t slot = 0; slot < count_; ++slot) {
      const uint64_t* table = values_.data() + slot * size_;
      for (int64_t j = 0; j < k_; ++j) {
        const uint64_t count = table[k_ * d_ + j];
        if (counts) add(counts[j], count);
        if (!sums || count == 0) continue;
        for (int64_t t = j * d_; t < (j + 1) * d_; ++t) add(sums[t], table[t] - count * magic);
      }
    }
  }

 private:
  static constexpr int64_t budget = int64_t{1} << 25;  // numbers of 8 bytes in all tables
  int64_t k_, d_, size_, count_;
  AlignedBuffer<uint64_t> values_;  // sums, then counts, of each table
  std::unique_ptr<std::mutex[]> locks_;
};

// The centres as the loops read them.
class PackedCentres {
 public:
  PackedCentres(const float* centres, int64_t k, int64_t d, const Execution& execution)
      : packed_(k * d), half_norms_(k) {
    parallel_for(k, 16 * block_multiple, execution, [&](int64_t begin, int64_t end, int64_t) {
      targets().prepare_centres(centres, d, begin, end, packed_.data(), half_norms_.data());
    });
  }
  const float* packed() const { return packed_.data(); }
  const float* half_norms() const { return half_norms_.data(); }

 private:
  AlignedBuffer<float> packed_, half_norms_;
};

}  // namespace

void nearest(const float* rows, int64_t n, int64_t d, const float* shift, const float* centres,
             int64_t k, Nearest out, Execution execution) {
  if (n == 0) return;
  const std::vector<float> zeros(shift ? 0 : static_cast<size_t>(d));
  const PackedCentres prepared(centres, k, d, execution);
  const NearestTask task{
      rows, d, shift ? shift : zeros.data(), centres, prepared.packed(), prepared.half_norms(), k};
  const bool wants_sums = out.sums || out.counts;
  const bool wants_labels = out.labels || out.distances || wants_sums;

  const int64_t tile = tile_rows(d);
  // Some 2^28 products, 5 ms, between two polls for signals.
  const int64_t tiles = std::clamp<int64_t>((int64_t{1} << 28) / (tile * d * k), 1, 64);
  const int64_t share = (n + execution.threads - 1) / execution.threads;
  const int64_t chunk = std::min(tiles * tile, (share + panel_rows - 1) / panel_rows * panel_rows);
  const int64_t slots = std::min(execution.threads, (n + chunk - 1) / chunk);

  const AlignedBuffer<float> packed(slots * tile * d);
  const AlignedBuffer<int32_t> labels(slots * tile);
  SumTables tables(wants_sums ? k : 0, d, slots);
  parallel_for(
      n, std::max<int64_t>(chunk, 1), execution, [&](int64_t from, int64_t to, int64_t slot) {
        for (int64_t begin = from; begin < to; begin += tile) {
          const int64_t end = std::min(begin + tile, to);
          int32_t* mine = out.labels ? out.labels + begin : labels.data() + slot * tile;
          targets().nearest_rows(task, begin, end, packed.data() + slot * tile * d,
                                 wants_labels ? mine : nullptr,
                                 out.distances ? out.distances + begin : nullptr,
                                 out.all_distances ? out.all_distances + begin * k : nullptr);
          if (!wants_sums) continue;
          tables.with_table(slot, [&](uint64_t* counts, uint64_t* sums) {
            targets().add_nearest_rows(task, begin, end, mine, out.sum_scale, counts, sums);
          });
        }
      });
  if (wants_sums) tables.add_to(out.counts, out.sums);
}

}  // namespace cloister
