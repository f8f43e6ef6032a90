// The table of instruction-set-dependent loops. Each target_*.cpp compiles the same .inl files for
// its instruction set; the kernels call through the active table.
#pragma once

#include <cstdint>

#include "checkpoint.hpp"
#include "screen.hpp"

namespace cloister {

// One class, as tally and moments look for the cells of its rows.
struct CellTask {
  const int16_t* codes;
  int64_t d;
  const int16_t* centres;       // of the class at hand, (k, d)
  const int32_t* centre_pairs;  // the same, (k, ceil(d / 2)) words of two coordinates, zero-padded
  const int32_t* centre_norms;  // |c_j|^2
  // Where rows are read in vectors of 2 * lanes numbers: (k, ceil(d / those)) of them, the last
  // of the last d coordinates, but zero for those in the vectors before; else null.
  const int16_t* centre_vectors;
  int64_t k;
  const int16_t* shift;             // a point in the midst of the centres, (d,)
  int64_t shift_norm;               // |shift|^2
  const ScreenedCentres* screened;  // c_j - shift by int8 codes; null where they do not pay
};

constexpr int64_t cell_tile_rows = 512;  // at most, in one call of assign_cells

// What one thread needs for a tile of rows.
struct CellScratch {
  Checkpoint* checkpoint;
  uint32_t* packed;
  int32_t* order;  // 0, 1, 2, ...
  uint8_t* codes;
  TileBounds bounds;
  Candidates found;
  // Of each row: candidates at hand, the likeliest, its lower bound; the best score that was
  // computed and its cell, which is -1 as long as there is none.
  int32_t* counts;
  int32_t* likeliest;
  float* least;
  int32_t* scores;
  int32_t* cells;
  int64_t measured;  // exact scores that screens asked for since the scratch was made ..
  int64_t screened;  // .. and rows seen since, screened or not
};

// What `gradient` knows of all rows.
struct SoftmaxTask {
  const int16_t* weights;  // (classes, padded_d), zeros past d
  int64_t classes;
  int64_t padded_d;  // a multiple of gradient_padding
  double scale;
  const double* bias;
  Clip clip;  // of residuals
};

constexpr int64_t gradient_padding = 32;  // a multiple of every target's panel
// Products of norms 2^11 * 2^11 in int32: 510 * 2^22 < 2^31.
constexpr int64_t gradient_tile_rows = 510;
constexpr int64_t gradient_stride = 512;

struct NearestTask {
  const float* rows;
  int64_t d;
  const float* shift;     // never null here
  const double* weights;  // null: all 1
  const float* centres;
  int64_t k;
  ScreenedRows screened;  // of all rows; codes is null where there are none
  Neighbours neighbours;
};

constexpr int64_t nearest_tile_rows = 1024;  // at most, in one call of nearest_rows
constexpr int64_t tile_slot = 64;
constexpr int64_t tile_waiting = 4 * nearest_tile_rows;

// What one thread needs for a tile of rows.
struct NearestScratch {
  Checkpoint* checkpoint;
  ScreenedRows rows;  // of the tile, where the task has none
  uint32_t* packed;
  int32_t* active;  // rows of the tile that go through the products, in the order of the lanes
  TileBounds bounds;
  Candidates found;
  int32_t* slot_counts;         // candidates of each active row ..
  int32_t* slot_centres;        // (rows, tile_slot)
  float* slot_lowers;           // (rows, tile_slot)
  int32_t* list_centres;        // of one row's list, the movers and its label ..
  float* list_lowers;           // .. and their lower bounds
  int32_t* waiting_rows;        // rows that wait for distances (rows,), ..
  int32_t* waiting_ends;        // where the candidates of each end, ..
  int32_t* waiting_candidates;  // and these: (tile_waiting,)
  int64_t waiting = 0, waiting_centres = 0;
  float* x;          // one row
  float* distances;  // least distance measured so far, and its centre or -1
  int32_t* nearest;
  float* grounds;
  int64_t measured = 0;  // pairs measured since the scratch was made
  int64_t recalled = 0;  // rows settled by their lists
  int64_t listed = 0;    // centres found for lists since `slack` was adjusted
  float slack;           // how much farther than the nearest centre lists reach
  float slack_left;      // the share of it that the tile at hand has room for
};

struct ClusterSums {
  uint64_t* sums;    // (k, d)
  uint64_t* rows;    // (k,) rows added less rows removed
  uint64_t* masses;  // (k,) their weights
  double sum_scale, mass_scale;
};

constexpr double rounding_magic = 6755399441055744.0;  // 1.5 * 2^52

enum AttemptVerdict : uint8_t { attempt_rejected = 0, attempt_accepted = 1, attempt_open = 2 };

// Candidates as codes, (count, padded_codes(d)), and codes of what those leave out.
struct CandidateCodes {
  int8_t *codes, *fine_codes;
  int32_t *offsets, *fine_offsets;  // -128 * the sum of the codes
  float *scales, *fine_scales;
  float *errors, *fine_errors;  // at least what is left out, of the latter by both
  // Half the squared norms of what the codes stand for, of the latter both together.
  float *half_squares, *fine_half_squares;
};

struct ClosestTask {
  NearestTask near;             // its centres are the candidates
  const int32_t* code_squares;  // null where there are no codes
  CandidateCodes candidates;
  Closest out;
};

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
  // labels[i - begin] = cell of row i within its class, for a tile begin <= i < end.
  void (*assign_cells)(const CellTask& task, int64_t begin, int64_t end, CellScratch& scratch,
                       int32_t* labels);
  // Adds rows begin..end (labels as above) to the class's counts and sums, which 65,535 rows of any
  // int16 cannot make overflow.
  void (*add_rows)(const CellTask& task, int64_t begin, int64_t end, const int32_t* labels,
                   Clip clip, int64_t* counts, int32_t* sums);
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
  // scores[j * stride + i] = <row i, w_j> for rows (m, padded_d) of norm <= 2^11.
  void (*score_classes)(const SoftmaxTask& task, const int16_t* rows, int64_t m, int32_t* scores,
                        int64_t stride);
  // codes[j * gradient_stride + i] = q_j of row i, of class labels[i]. scores and labels have room
  // for, and codes gets, rows up to a multiple of 8; exponentials: 8 * classes.
  void (*softmax_codes)(const SoftmaxTask& task, const int32_t* scores, int64_t stride, int64_t m,
                        const int32_t* labels, double* exponentials, int16_t* codes);
  // Columns begin..end, begin a multiple of gradient_padding, of table (classes, d) += codes rows,
  // m <= gradient_tile_rows rows in the layout of pack_residuals.
  void (*add_class_products)(const int32_t* packed, const int16_t* codes, int64_t m,
                             int64_t classes, int64_t d, int64_t begin, int64_t end,
                             int64_t* table);
  void (*bin_rows)(const int16_t* codes, int64_t begin, int64_t end, int64_t d, const Grid& grid,
                   int64_t* counts);
  bool prefers_int8;  // the screen of nearest by int8 products is faster than by float32
  int64_t widest_block;
  int64_t lanes;
  // Centres begin..end of k; centres points to the first of them.
  void (*prepare_centres)(const float* centres, int64_t d, int64_t k, int64_t begin, int64_t end,
                          const ScreenedCentres& out);
  // Rows begin..end of apart.
  void (*measure_centres)(const ScreenedCentres& centres, int64_t d, int64_t k, int64_t begin,
                          int64_t end, float* apart);
  // One block of column_ranges.
  bool (*add_ranges)(const float* rows, int64_t n, int64_t d, double* sums, float* lowest,
                     float* highest);
  // Codes of rows begin..end, written to the first places of `out`.
  void (*encode_nearest_rows)(const NearestTask& task, int64_t begin, int64_t end,
                              const ScreenedRows& out);
  // One tile of rows; labels from row `begin` on.
  void (*nearest_rows)(const NearestTask& task, const ScreenedCentres& centres, int64_t begin,
                       int64_t end, NearestScratch& scratch, bool has_labels, int32_t* labels);
  void (*all_distances_rows)(const NearestTask& task, const ScreenedCentres& centres, int64_t begin,
                             int64_t end, NearestScratch& scratch, float* all_distances);
  void (*label_distances)(const NearestTask& task, int64_t begin, int64_t end,
                          const int32_t* labels, double* distances);
  // Adds the rows whose label is not the previous one and removes them there; returns how many.
  // Each row added leaves the bits of rounding_magic in each sum, each row removed takes them off.
  int64_t (*add_moved_rows)(const NearestTask& task, int64_t begin, int64_t end,
                            const int32_t* labels, const int32_t* previous, const ClusterSums& out);
  void (*encode_candidates)(const ClosestTask& task);
  // One block of rows.
  void (*closest_rows)(const ClosestTask& task, int64_t begin, int64_t end, Checkpoint& checkpoint);
  void (*square_codes)(const uint8_t* codes, int64_t d, int64_t begin, int64_t end, int32_t* out);
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
