#include <cuda_fp16.h>

#include "instructions.cuh"
#include "near_centres.hpp"

namespace cloister {
namespace {

constexpr int block_threads = 256, block_warps = block_threads / 32;
constexpr int at_once = 4, of_warp = 32 * at_once;
constexpr uint32_t infinity_bits = 0x7f800000u;

struct Vectors {
  const float* rows;   // (n, d)
  const float* shift;  // (d,) or null
  int64_t d, stride;   // stride: bytes of a plane's row
  bool is_aligned;     // all start on a multiple of 16 bytes
};

Vectors vectors(const float* rows, const float* shift, int64_t d, int64_t stride) {
  auto is_aligned = [](const float* at) { return reinterpret_cast<std::uintptr_t>(at) % 16 == 0; };
  return {rows, shift, d, stride, d % at_once == 0 && is_aligned(rows) && is_aligned(shift)};
}

// Coordinates t .. t + 3 of a row less the shift, zeros past its end.
__device__ __forceinline__ void load(const Vectors& vectors, const float* row, int64_t t,
                                     float (&x)[at_once]) {
  if (vectors.is_aligned && t < vectors.d) {
    const float4 values = *reinterpret_cast<const float4*>(row + t);
    x[0] = values.x, x[1] = values.y, x[2] = values.z, x[3] = values.w;
  } else {
#pragma unroll
    for (int i = 0; i < at_once; ++i) x[i] = t + i < vectors.d ? row[t + i] : 0.0f;
  }
  if (!vectors.shift) return;
#pragma unroll
  for (int i = 0; i < at_once; ++i) {
    if (t + i < vectors.d) x[i] = __fsub_rn(x[i], vectors.shift[t + i]);
  }
}

__device__ __forceinline__ float warp_sum(float value) {
  for (int half = 16; half > 0; half /= 2) value += __shfl_xor_sync(whole_warp, value, half);
  return value;
}

// At least the root of an exact sum of d squares, of which float32 has found this; the last term
// stands for squares that vanish.
__device__ __forceinline__ double root_of_sum(float sum, int64_t d) {
  const double exact = static_cast<double>(d);
  return __dsqrt_rn(sum) * (1.0 + (exact / 32.0 + 32.0) * 0x1p-24) + exact * 0x1p-74;
}

struct Halved {
  float scale, square;
  double norm, error;  // at least
};

// Writes the float16 plane of a row and zeros up to the stride, by a warp.
__device__ Halved encode_halves(const Vectors& vectors, const float* row, uint8_t* bytes) {
  const int64_t start = int64_t{static_cast<int>(threadIdx.x) % 32} * at_once;
  uint32_t peak = 0;
  float squares = 0.0f, errors = 0.0f, x[at_once];
  for (int64_t t = start; t < vectors.d; t += of_warp) {
    load(vectors, row, t, x);
#pragma unroll
    for (int i = 0; i < at_once; ++i) {
      peak = max(peak, __float_as_uint(x[i]) & 0x7fffffffu);
      squares = __fmaf_rn(x[i], x[i], squares);
    }
  }
  peak = __reduce_max_sync(whole_warp, peak);
  squares = warp_sum(squares);
  const int exponent = min(max(static_cast<int>(peak >> 23) - 126, -100), 100);
  const float scale = __int_as_float((exponent + 127) << 23);
  const float inverse = __int_as_float((127 - exponent) << 23);
  for (int64_t t = start; t < vectors.stride / 2; t += of_warp) {
    load(vectors, row, t, x);
    uint32_t words[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < at_once; ++i) {
      const __half half = __float2half_rn(__fmul_rn(x[i], inverse));
      const float left_out = __fsub_rn(x[i], __fmul_rn(__half2float(half), scale));  // exact
      errors = __fmaf_rn(left_out, left_out, errors);
      words[i / 2] |= uint32_t{__half_as_ushort(half)} << (16 * (i % 2));
    }
    *reinterpret_cast<uint2*>(bytes + 2 * t) = make_uint2(words[0], words[1]);
  }
  return {scale, squares, root_of_sum(squares, vectors.d),
          root_of_sum(warp_sum(errors), vectors.d)};
}

__global__ void __launch_bounds__(block_threads)
    encode_centres(Vectors vectors, int64_t k, int64_t padded_k, uint8_t* bytes, CentreTerm* terms,
                   float* largest) {
  const int64_t j = int64_t{blockIdx.x} * block_warps + threadIdx.x / 32;
  if (j >= padded_k) return;
  uint8_t* own = bytes + j * vectors.stride;
  if (j >= k) {
    for (int64_t t = threadIdx.x % 32 * 8; t < vectors.stride; t += 32 * 8) {
      *reinterpret_cast<uint2*>(own + t) = make_uint2(0, 0);
    }
    if (threadIdx.x % 32 == 0) terms[j] = {0.0f, __uint_as_float(infinity_bits), 0.0f};
    return;
  }
  const Halved halved = encode_halves(vectors, vectors.rows + j * vectors.d, own);
  if (threadIdx.x % 32 != 0) return;
  const double norm = halved.norm + halved.error;
  terms[j] = {halved.scale, halved.square, __double2float_ru(norm)};
  auto raise = [&](float* place, double value) {  // non-negative floats are ordered like integers
    atomicMax(reinterpret_cast<int32_t*>(place), __float_as_int(__double2float_ru(value)));
  };
  raise(largest, norm);
  if (norm > 0.0) raise(largest + 1, __ddiv_rn(halved.error, norm) * (1.0 + 1e-14));
}

__global__ void __launch_bounds__(block_threads)
    encode_rows(Vectors vectors, int64_t count, const float* largest, uint8_t* bytes,
                RowTerm* terms) {
  const int64_t row = int64_t{blockIdx.x} * block_warps + threadIdx.x / 32;
  if (row >= count) return;
  const Halved halved =
      encode_halves(vectors, vectors.rows + row * vectors.d, bytes + row * vectors.stride);
  if (threadIdx.x % 32 != 0) return;
  const double length = static_cast<double>(vectors.d), chain = length / 32.0 + 16.0;
  const double largest_norm = largest[0], largest_error = largest[1];
  const double most = halved.norm + halved.error, reach = halved.norm + largest_norm;
  const double slope = 2.0 * halved.error + 2.0 * most * largest_error +
                       (length + 32.0) * 0x1p-21 * most +
                       (chain * 0x1p-23 + 0x1p-20) * (largest_norm + most);
  RowTerm term{-2.0f * halved.scale, __double2float_ru(slope * (1.0 + 0x1p-19)),
               __double2float_ru(chain * 0x1p-22 * reach * reach + length * 0x1p-120)};
  const float most_float = 0x1.fffffep127f;
  const bool is_finite = term.slope <= most_float && term.ground <= most_float;
  if (!is_finite) term = {__uint_as_float(0x7fc00000u), 0.0f, 0.0f};  // and so are its scores
  terms[row] = term;
}

}  // namespace

NearCentres::NearCentres(const float* centres, int64_t k, int64_t d, const float* shift,
                         int64_t most_rows, const Execution& execution)
    : d_(d),
      stride_(padded_bytes(2 * d)),
      padded_k_(divide_up(k, screened_multiple) * screened_multiple),
      shift_(shift),
      limits_(device_limits()),
      execution_(execution) {
  const cudaStream_t stream = stream_of(execution);
  const int64_t tiles =
      std::min(divide_up(most_rows, screen_tile_rows), screen_chunk_tiles(stride_, limits_));
  chunk_rows_ = tiles * screen_tile_rows;
  for (int64_t i = 0; i < tiles; ++i) {
    tiles_.push_back({0, static_cast<int32_t>(i * screen_tile_rows), screen_tile_rows});
  }
  device_tiles_ = uploaded(tiles_.data(), tiles, execution);
  centre_bytes_ = {padded_k_ * stride_, stream};
  row_bytes_ = {chunk_rows_ * stride_, stream};
  centre_terms_ = {padded_k_, stream};
  row_terms_ = {chunk_rows_, stream};
  largest_ = {2, stream};
  entries_ = {chunk_rows_ * list_capacity, stream};
  counts_ = {chunk_rows_, stream};
  list_limits_ = {chunk_rows_, stream};
  largest_.clear();
  launch(encode_centres, {divide_up(padded_k_, block_warps)}, block_threads, 0, execution,
         vectors(centres, nullptr, d, stride_), k, padded_k_, centre_bytes_.data(),
         centre_terms_.data(), largest_.data());
}

CandidateLists NearCentres::find(const float* rows, int64_t count) {
  launch(encode_rows, {divide_up(count, block_warps)}, block_threads, 0, execution_,
         vectors(rows, shift_, d_, stride_), count, largest_.data(), row_bytes_.data(),
         row_terms_.data());
  const CandidateLists lists{entries_.data(), counts_.data(), list_limits_.data()};
  screen(Products::float16,
         {count, row_bytes_.data(), row_terms_.data(), centre_bytes_.data(), centre_terms_.data(),
          stride_, padded_k_, lists},
         device_tiles_.data(), divide_up(count, screen_tile_rows), limits_, execution_);
  return lists;
}

}  // namespace cloister
