// What the kernels of sample_mixture share.
#pragma once

#include "normal.cuh"
#include "runtime.hpp"

namespace cloister {

constexpr int tile_rows = 128;  // that are multiplied together

// All pointers are the device's.
struct Sampling {
  PhiloxKeys keys;
  int64_t first_row, d, rank;
  const float* means;
  const float* factors;
  const float* scales;
  const int64_t* covariance_of;
  bool has_quads;  // four columns make an aligned store of 16 bytes, and one block of normals
};

// What a call works on: rows in places of their own, those of a covariance together from a multiple
// of tile_rows on. order[p] is the row in place p, -1: none; null: every row keeps its place.
struct Places {
  const int32_t* order;
  int64_t count, rows;
};

__device__ __forceinline__ int64_t row_at(const Places& places, int64_t place) {
  if (!places.order) return place < places.rows ? place : -1;
  return places.order[place];
}

// mean + deviation, of which -0 counts as +0.
__device__ __forceinline__ float around(float mean, float deviation) {
  return __fadd_rn(mean, __fadd_rn(deviation, 0.0f));
}

__device__ __forceinline__ void store_quad(float* out, const float (&values)[4]) {
  *reinterpret_cast<float4*>(out) = make_float4(values[0], values[1], values[2], values[3]);
}

// Normals times factors for the rows that have places, to which finish_rows adds if there are
// scales; else the means are added here. normals: scratch for rank numbers a place.
void multiply_normals(const Sampling& task, const Places& places, float* normals,
                      const int32_t* components, float* out, const Execution& execution);

}  // namespace cloister
