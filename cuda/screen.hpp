// The screen: approximate scores of rows and centres by tensor cores, which leave each row a short
// list of candidates. What decides among them is exact and is the caller's.
//
// Let S_j be the scores that decide and A_j those of the screen, with |A_j - S_j| <= r_j, where
// r_j = slope |c_j|: rows know the slope and centres their norm. The screen computes, roundings
// included, upper_j >= S_j and lower_j <= S_j. With a any centre of least S and b any centre
// whatever,  lower_a <= S_a <= S_b <= upper_b,  so that a is among the j with lower_j <= limit,
// where `limit` is the least upper_b of *any* set of centres: of those seen so far, in whatever
// order warps meet them, as well as of all. Where what decides has roundings of its own, and picks
// an a with S_a <= S_b + ground for all b, the limit is raised by `ground`. Lists may hold other
// centres too, and which may differ from run to run; what is decided from them does not.
#pragma once

#include "runtime.hpp"

namespace cloister {

enum class Products { int8, float16 };  // how the products <x, c> of a screen are taken

// Rows and centres are planes of bytes, int8 or float16, padded with zeros to whole slices.
constexpr int64_t slice_bytes = 64;
constexpr int list_capacity = 32;

struct Candidate {
  float lower;
  int32_t centre;  // within its group
};

// A_j = square + factor * scale * <bytes of the row, bytes of the centre>, and r_j = slope * norm.
struct alignas(16) CentreTerm {
  float scale, square, norm;
};

struct alignas(16) RowTerm {
  float factor, slope, ground;
};

// Neighbouring rows of one group, which share their centres: at most screen_tile_rows of them.
struct RowTile {
  int64_t group;
  int32_t first, rows;  // within the chunk
};
constexpr int screen_tile_rows = 256;

// Candidates of the rows of a chunk. A list is complete if its count is at most list_capacity (a
// count is never 0); else it means nothing, and any centre may be the one. In a complete list only
// entries with lower <= limit matter: one alone is the answer.
struct CandidateLists {
  Candidate* entries;  // (rows, list_capacity)
  int32_t* counts;     // (rows,)
  float* limits;       // (rows,)
};

// All of it device memory.
struct ScreenTask {
  int64_t rows;                    // of the chunk; what tiles hold past them is left alone
  const uint8_t* row_bytes;        // (rows, stride)
  const RowTerm* row_terms;        // (rows,)
  const uint8_t* centre_bytes;     // (groups, padded_k, stride)
  const CentreTerm* centre_terms;  // (groups, padded_k); from k on: {0, infinity, 0}
  int64_t stride;                  // a multiple of slice_bytes
  int64_t padded_k;                // a multiple of screened_multiple
  CandidateLists lists;
};
constexpr int64_t screened_multiple = 256;

// Fills the lists of the rows of these tiles.
void screen(Products products, const ScreenTask& task, const RowTile* tiles, int64_t tile_count,
            const DeviceLimits& limits, const Execution& execution);

inline int64_t padded_bytes(int64_t bytes) { return divide_up(bytes, slice_bytes) * slice_bytes; }

// Rows of a chunk: whole waves of tiles, as many as leave its plane in the level-2 cache.
inline int64_t screen_chunk_tiles(int64_t stride, const DeviceLimits& limits) {
  const int64_t wave_bytes = limits.processors * screen_tile_rows * stride;
  const int64_t waves = std::max<int64_t>(1, limits.cache_bytes * 3 / 4 / wave_bytes);
  return limits.processors * std::min<int64_t>(waves, 8);
}

}  // namespace cloister
