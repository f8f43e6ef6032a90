// What tally and moments share: the centres of one class, prepared for the loops.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "parallel.hpp"
#include "targets.hpp"

namespace cloister {

class ClassCentres {
 public:
  ClassCentres(const int16_t* codes, int64_t d, const int16_t* centres, int64_t k,
               const Execution& execution)
      : codes_(codes),
        d_(d),
        centres_(centres),
        k_(k),
        pairs_(new int32_t[static_cast<size_t>(k * ((d + 1) / 2))]),
        norms_(new int32_t[static_cast<size_t>(k)]) {
    const int64_t centres_at_a_time = (int64_t{1} << 20) / d + 1;
    parallel_for(k, centres_at_a_time, execution, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t j = begin; j < end; ++j) prepare(j);
    });
  }

  CellTask task() const { return {codes_, d_, centres_, pairs_.get(), norms_.get(), k_}; }

  // Rows that keep a chunk near 10 ms at some 10^10 products a second; no fewer than the panel of
  // a vector target, unless the target is slow.
  int64_t chunk() const {
    const int64_t least = &targets() == &generic_targets ? 8 : 32;
    return std::clamp<int64_t>((int64_t{1} << 26) / (d_ * k_), least, int64_t{1} << 14);
  }

 private:
  void prepare(int64_t j) {
    const int64_t pairs = (d_ + 1) / 2;
    const int16_t* centre = centres_ + j * d_;
    int32_t* own = pairs_.get() + j * pairs;
    if (d_ % 2) own[pairs - 1] = 0;
    std::memcpy(own, centre, static_cast<size_t>(d_) * sizeof(int16_t));
    int32_t norm_squared = 0;
    for (int64_t i = 0; i < d_; ++i) norm_squared += centre[i] * centre[i];
    norms_[static_cast<size_t>(j)] = norm_squared;
  }

  const int16_t* codes_;
  int64_t d_;
  const int16_t* centres_;
  int64_t k_;
  std::unique_ptr<int32_t[]> pairs_;  // coordinates 2t, 2t + 1 in one word, zero past the end
  std::unique_ptr<int32_t[]> norms_;
};

}  // namespace cloister
