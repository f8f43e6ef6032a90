// The centres that may be nearest to a row by the distance D of kernels.hpp, screened by float16
// products with float32 sums. It decides nothing: it only leaves D less to do.
//
// x (a row less the shift, in float32) stands for s h, h its float16 plane and s a power of two
// that brings the largest coordinate into [1/2, 1); e = |x - s h| is measured, and likewise for
// centres. With S_j = |c_j|^2 - 2 <x, c_j>, n_j = |c_j| + e_j, N = max n_j and E = max e_j / n_j,
// as in cell_planes.hpp,
//   2 |<x, c> - <s h, s' h'>| <= n_j (2 e + 2 (|x| + e) E).
// A tensor core adds products, which are exact, in an order of its own and may cut sums off: each
// of at most d + 31 additions errs by 2^-22 of the sum of all magnitudes, at most, together
// (d + 32) 2^-22 |h| |h'|, and float32 steps as there. |c|^2 is a float32 sum, right to
// (d / 32 + 16) 2^-23 of itself. Hence
//   slope = (2 e + 2 (|x| + e) E + (d + 32) 2^-21 (|x| + e)
//            + ((d / 32 + 16) 2^-23 + 2^-20) (N + |x| + e)) (1 + 2^-19).
// D is right to delta = (d / 32 + 9) 2^-24 of itself: for the least D, of a, and any b,
//   |x - c_a|^2 <= |x - c_b|^2 (1 + 2.1 delta),  S_a <= S_b + 2.1 delta (|x| + N)^2,
// and ground = (d / 32 + 16) 2^-22 (|x| + N)^2 + d 2^-120, where the last term stands for products
// and squares that vanish. Where any of this is not finite the list of a row is not complete.
#pragma once

#include "screen.hpp"

namespace cloister {

class NearCentres {
 public:
  // All device memory, kept by the caller; shift may be null. most_rows: of any one call.
  NearCentres(const float* centres, int64_t k, int64_t d, const float* shift, int64_t most_rows,
              const Execution& execution);
  NearCentres(const NearCentres&) = delete;
  NearCentres& operator=(const NearCentres&) = delete;

  int64_t chunk_rows() const { return chunk_rows_; }  // at most this many a call

  // The lists of `count` rows, on the device until the next call; queued, not waited for. Those of
  // complete lists with lower <= limit hold every centre of least D: ties too.
  CandidateLists find(const float* rows, int64_t count);

 private:
  int64_t d_, stride_, padded_k_, chunk_rows_;
  const float* shift_;
  DeviceLimits limits_;
  const Execution& execution_;
  std::vector<RowTile> tiles_;  // outlives their copying
  Scratch<RowTile> device_tiles_;
  Scratch<uint8_t> centre_bytes_, row_bytes_;
  Scratch<CentreTerm> centre_terms_;
  Scratch<RowTerm> row_terms_;
  Scratch<float> largest_;  // N and E, at least
  Scratch<Candidate> entries_;
  Scratch<int32_t> counts_;
  Scratch<float> list_limits_;
};

}  // namespace cloister
