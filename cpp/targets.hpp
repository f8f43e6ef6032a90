// The table of instruction-set-dependent loops. Each target_*.cpp compiles the same .inl files for
// its instruction set; the kernels call through the active table.
#pragma once

#include <cstdint>

#include "kernels.hpp"

namespace cloister {

// Scratch of one tally or moments call, shared by its chunks.
struct CellTask {
  const int16_t* codes;
  int64_t d;
  const int16_t* centres;       // of the class at hand, (k, d)
  const int32_t* centre_pairs;  // the same, (k, ceil(d / 2)) words of two coordinates, zero-padded
  const int32_t* centre_norms;  // |c_j|^2
  int64_t k;
};

struct NearestTask {
  const float* rows;
  int64_t d;
  const float* shift;  // never null here
  const float* centres;
  const float* packed_centres;  // by prepare_centres
  const float* half_norms;      // |c_j|^2 / 2
  int64_t k;
};

constexpr int64_t nearest_tile_rows = 1024;            // at most, in one call of nearest_rows
constexpr double rounding_magic = 6755399441055744.0;  // 1.5 * 2^52

enum AttemptVerdict : uint8_t { attempt_rejected = 0, attempt_accepted = 1, attempt_open = 2 };

struct SampleTask {
  uint64_t seed;
  int64_t first_row;
  int64_t d;
  Mixture mixture;
  const int32_t* components;
};

struct Targets {
  const char* name;
  bool (*supported)();

  void (*encode_rows)(const void* rows, Dtype dtype, int64_t row_stride, int64_t begin, int64_t end,
                      int64_t d, Clip clip, int16_t* codes, uint8_t* valid);
  // labels[i - begin] = cell of row i within its class, for begin <= i < end.
  void (*assign_cells)(const CellTask& task, int64_t begin, int64_t end, int32_t* labels);
  // Adds rows begin..end (labels as above) to the class's counts and sums.
  void (*add_rows)(const CellTask& task, int64_t begin, int64_t end, const int32_t* labels,
                   Clip clip, int64_t* counts, int64_t* sums);
  // residual = Clip(code - centre), int16, length d.
  void (*clip_residual)(const int16_t* code, const int16_t* centre, int64_t d, Clip clip,
                        int16_t* residual);
  // The layout of m residuals (m, d) for add_outer_products. packed: ceil(m / 2) * (d rounded up to
  // a multiple of 32).
  void (*pack_residuals)(const int16_t* residuals, int64_t m, int64_t d, int32_t* packed);
  // Rows begin..end, begin a multiple of 8, of square (d, d) int64 += upper triangle of residuals^T
  // residuals; m <= 510 rows of norm <= 2^11.
  void (*add_outer_products)(const int32_t* packed, int64_t m, int64_t d, int64_t begin,
                             int64_t end, int64_t* square);
  void (*bin_rows)(const int16_t* codes, int64_t begin, int64_t end, int64_t d, const Grid& grid,
                   int64_t* counts);
  // Lays out centres begin..end, begin a multiple of every target's block, and their half norms.
  void (*prepare_centres)(const float* centres, int64_t d, int64_t begin, int64_t end,
                          float* packed, float* half_norms);
  // One tile of rows, all outputs from row `begin` on; labels and all_distances may be null,
  // distances needs labels. packed: scratch of end - begin rows, rounded up to a multiple of 32.
  void (*nearest_rows)(const NearestTask& task, int64_t begin, int64_t end, float* packed,
                       int32_t* labels, double* distances, float* all_distances);
  // Each sum[t] += rint(x_t * scale) + the bits of rounding_magic, for labels as above.
  void (*add_nearest_rows)(const NearestTask& task, int64_t begin, int64_t end,
                           const int32_t* labels, double scale, uint64_t* counts, uint64_t* sums);
  // `blocks` consecutive 64-byte blocks from `counter` on.
  void (*chacha20)(const uint32_t* key, uint32_t counter, const uint32_t* nonce, int64_t blocks,
                   uint32_t* out);
  // What the words that start attempts decide (rounded_gaussian.hpp); 0 < count, a multiple of 16.
  void (*judge_attempts)(const uint32_t* words, int64_t count, uint8_t* verdicts);
  // Writes the rows rows[0] .. rows[count - 1] of out; all have the covariance at hand.
  void (*sample_rows)(const SampleTask& task, const int64_t* rows, int64_t count, float* out);
};

// The entry of an instruction set that this processor family does not have.
constexpr Targets unsupported_targets(const char* name) {
  Targets table{};
  table.name = name;
  table.supported = [] { return false; };
  return table;
}

extern const Targets generic_targets, avx2_targets, avx512_targets;
const Targets& targets();  // the active table

}  // namespace cloister
