// What tally and moments share: the centres of one class, prepared for the loops.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "targets.hpp"

namespace cloister {

class ClassCentres {
 public:
  ClassCentres(const int16_t* codes, int64_t d, const int16_t* centres, int64_t k)
      : codes_(codes), d_(d), centres_(centres), k_(k) {
    const int64_t pairs = (d + 1) / 2;
    pairs_.assign(static_cast<size_t>(k * pairs), 0);
    norms_.assign(static_cast<size_t>(k), 0);
    for (int64_t j = 0; j < k; ++j) {
      const int16_t* centre = centres + j * d;
      std::memcpy(pairs_.data() + j * pairs, centre, static_cast<size_t>(d) * sizeof(int16_t));
      for (int64_t i = 0; i < d; ++i) norms_[static_cast<size_t>(j)] += centre[i] * centre[i];
    }
  }

  CellTask task() const { return {codes_, d_, centres_, pairs_.data(), norms_.data(), k_}; }

  // Rows that keep a chunk near 10 ms at some 10^10 products a second.
  int64_t chunk() const {
    return std::clamp<int64_t>((int64_t{1} << 26) / (d_ * k_), 32, int64_t{1} << 14);
  }

 private:
  const int16_t* codes_;
  int64_t d_;
  const int16_t* centres_;
  int64_t k_;
  std::vector<int32_t> pairs_;  // coordinates 2t, 2t + 1 in one word, zero past the end
  std::vector<int32_t> norms_;
};

}  // namespace cloister
