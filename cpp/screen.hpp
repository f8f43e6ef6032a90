// What the screening products of `nearest` and `tally` work on. See screen.inl for the bound.
#pragma once

#include <cstdint>

#include "kernels.hpp"

namespace cloister {

// How the products <x, c> of a screen are taken. int8: of codes with one scale a vector, at four
// times the rate of float32 where the processor has VNNI.
enum class Products : int64_t { float32 = 0, int8 = 1 };

constexpr int64_t code_alignment = 64;  // int8 codes of a row are padded to whole cache lines

inline int64_t padded_codes(int64_t d) {
  return (d + code_alignment - 1) / code_alignment * code_alignment;
}

// Centres in blocks of `width`, as the products read them; those from k on can never be nearest.
struct ScreenedCentres {
  Products products;
  int64_t width;
  int64_t count;      // centres, a multiple of width
  int64_t steps;      // words of a centre: d float32, or padded_codes(d) / 4 times four int8
  uint32_t* blocks;   // (count / width, steps, width)
  int32_t* offsets;   // int8: -128 * the sum of a centre's codes
  float* half_norms;  // |c|^2 / 2, infinite from k on
  float* scales;      // int8: c is near scale * code; float32: 1
  float* norms;       // at least |c|, and for int8 at least 32 |c - scale * code|
  float* errors;      // int8: at least |c - scale * code|; float32: 0
  // int8: c is nearer still to scale * code + fine_scale * fine_code, both by rows of
  // padded_codes(d), with fine_offsets and fine_errors in place of offsets and errors.
  int8_t* codes;
  int8_t* fine_codes;
  int32_t* fine_offsets;
  float* fine_scales;
  float* fine_errors;
  float* code_norms;    // int8: near |scale * code|
  float* apart;         // (k, k) at least the distances between centres, or null
  float largest_norm;   // of norms
  float largest_error;  // of errors / norms
};

// What is known of the scores of a tile's rows, in the order of their panels (see screen.inl).
struct TileBounds {
  float* scales;
  float* slopes;
  float* grounds;
  float* reaches;  // at least the least score
};

// Pairs of a row and a centre that the bound could not tell apart from the nearest.
struct Candidates {
  int64_t capacity;  // records; at least 2 * width + 1: a block writes 2 * width
  int64_t count;
  float* lower;     // (capacity, lanes): lower bounds of a vector of rows ..
  int32_t* centre;  // .. for this centre
  int32_t* vector;  // .. and which vector of the tile
};

}  // namespace cloister
