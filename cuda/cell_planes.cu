#include "cell_planes.hpp"
#include "code_vectors.cuh"

namespace cloister {
namespace {

constexpr int block_threads = 256, block_warps = block_threads / 32;

// How far a vector of codes lies from a shift, and what its int8 codes leave out.
struct Coded {
  float scale;
  double norm, error;  // at least
  int32_t square;      // of the norm, exact
};

__device__ __forceinline__ void load_difference(const int16_t* vector, const int16_t* shift,
                                                int64_t t, int64_t d, bool is_aligned,
                                                int32_t (&y)[codes_at_once]) {
  int32_t subtracted[codes_at_once];
  load_codes(vector, t, d, is_aligned, y);
  load_codes(shift, t, d, is_aligned, subtracted);
#pragma unroll
  for (int i = 0; i < codes_at_once; ++i) y[i] -= subtracted[i];
}

// Writes the int8 codes of vector - shift and zeros up to stride, by a warp. Norms are at most
// 2^15, so all integers below fit: |<y, q>| <= 2^15 * 127 sqrt(d), |q|^2 <= 127^2 d, d <= 2^17.
__device__ Coded encode_bytes(const int16_t* vector, const int16_t* shift, int64_t d,
                              int64_t stride, bool is_aligned, uint8_t* bytes) {
  const int64_t start = int64_t{static_cast<int>(threadIdx.x) % 32} * codes_at_once;
  int32_t peak = 0, square = 0, y[codes_at_once];
  for (int64_t t = start; t < d; t += codes_of_warp) {
    load_difference(vector, shift, t, d, is_aligned, y);
#pragma unroll
    for (int i = 0; i < codes_at_once; ++i) {
      peak = max(peak, y[i] < 0 ? -y[i] : y[i]);
      square += y[i] * y[i];
    }
  }
  peak = __reduce_max_sync(whole_warp, peak);
  square = __reduce_add_sync(whole_warp, square);
  const float scale = __fdiv_rn(__int2float_rn(peak), 127.0f);
  const float inverse = peak ? __fdiv_rn(127.0f, __int2float_rn(peak)) : 0.0f;
  int32_t crossed = 0, coded_square = 0;
  for (int64_t t = start; t < stride; t += codes_of_warp) {
    load_difference(vector, shift, t, d, is_aligned, y);
    uint32_t words[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < codes_at_once; ++i) {
      const int32_t q = __float2int_rn(__fmul_rn(__int2float_rn(y[i]), inverse));
      crossed += y[i] * q;
      coded_square += q * q;
      words[i / 4] |= (static_cast<uint32_t>(q) & 0xff) << (8 * (i % 4));
    }
    *reinterpret_cast<uint2*>(bytes + t) = make_uint2(words[0], words[1]);
  }
  crossed = __reduce_add_sync(whole_warp, crossed);
  coded_square = __reduce_add_sync(whole_warp, coded_square);
  // Each float64 step is right to 2^-53 of at most 5 |y|^2: together to less than 1e-14 |y|^2.
  const double s = scale, exact_square = square;
  const double error_square =
      exact_square - 2.0 * s * crossed + s * s * coded_square + 1e-14 * exact_square;
  constexpr double safe = 1.0 + 1e-14;
  return {scale, __dsqrt_rn(exact_square) * safe,
          __dsqrt_rn(error_square > 0.0 ? error_square : 0.0) * safe, square};
}

// A public point near the centres of a class: the mean of some of them, towards zero, so that its
// norm is at most theirs. Any point will do.
__global__ void find_shifts(const int16_t* centres, int64_t d, int64_t k, int64_t classes,
                            int16_t* shifts) {
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (i >= classes * d) return;
  const int64_t some = min(k, int64_t{512}), step = k / some;
  const int16_t* centre = centres + i / d * k * d + i % d;
  int32_t sum = 0;
  for (int64_t j = 0; j < some; ++j) sum += centre[j * step * d];
  shifts[i] = static_cast<int16_t>(sum / static_cast<int32_t>(some));
}

__global__ void __launch_bounds__(block_threads)
    encode_centres(const int16_t* centres, const int16_t* shifts, int64_t d, int64_t k,
                   int64_t stride, int64_t padded_k, int64_t count, bool is_aligned, uint8_t* bytes,
                   CentreTerm* terms, float* largest) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t i = int64_t{blockIdx.x} * block_warps + threadIdx.x / 32;
  if (i >= count) return;
  const int64_t group = i / padded_k, j = i % padded_k;
  if (j >= k) {
    for (int64_t t = lane * codes_at_once; t < stride; t += codes_of_warp) {
      *reinterpret_cast<uint2*>(bytes + i * stride + t) = make_uint2(0, 0);
    }
    if (lane == 0) terms[i] = {0.0f, __int_as_float(0x7f800000), 0.0f};
    return;
  }
  const Coded coded = encode_bytes(centres + (group * k + j) * d, shifts + group * d, d, stride,
                                   is_aligned, bytes + i * stride);
  if (lane != 0) return;
  const double norm = coded.norm + coded.error;
  terms[i] = {coded.scale, __int2float_rn(coded.square), __double2float_ru(norm)};
  auto raise = [&](float* place, double value) {  // non-negative floats are ordered like integers
    atomicMax(reinterpret_cast<int32_t*>(place), __float_as_int(__double2float_ru(value)));
  };
  raise(largest + 2 * group, norm);
  if (norm > 0.0) raise(largest + 2 * group + 1, __ddiv_rn(coded.error, norm) * (1.0 + 1e-14));
}

__global__ void __launch_bounds__(block_threads)
    encode_rows(const int16_t* codes, const int16_t* shifts, int64_t d, int64_t stride,
                bool is_aligned, const float* largest, const RowTile* tiles, uint8_t* bytes,
                RowTerm* terms) {
  const RowTile tile = tiles[blockIdx.x];
  const double largest_norm = largest[2 * tile.group], largest_error = largest[2 * tile.group + 1];
  for (int i = static_cast<int>(threadIdx.x) / 32; i < tile.rows; i += block_warps) {
    const int64_t row = int64_t{tile.first} + i;
    const Coded coded = encode_bytes(codes + row * d, shifts + tile.group * d, d, stride,
                                     is_aligned, bytes + row * stride);
    if (threadIdx.x % 32 != 0) continue;
    const double most = coded.norm + coded.error;
    const double slope =
        2.0 * coded.error + 2.0 * most * largest_error + 0x1p-20 * (largest_norm + most);
    terms[row] = {-2.0f * coded.scale, __double2float_ru(slope * (1.0 + 0x1p-20)), 0.0f};
  }
}

}  // namespace

CellCentres cell_centres(const int16_t* codes, int64_t d, int64_t k, int64_t classes,
                         const Execution& execution) {
  const cudaStream_t stream = stream_of(execution);
  const int64_t stride = padded_bytes(d),
                padded_k = divide_up(k, screened_multiple) * screened_multiple;
  const int64_t count = classes * padded_k;
  CellCentres out{codes,
                  d,
                  k,
                  classes,
                  stride,
                  padded_k,
                  {classes * d, stream},
                  {count * stride, stream},
                  {count, stream},
                  {2 * classes, stream}};
  out.largest.clear();
  launch(find_shifts, {divide_up(classes * d, block_threads)}, block_threads, 0, execution, codes,
         d, k, classes, out.shifts.data());
  launch(encode_centres, {divide_up(count, block_warps)}, block_threads, 0, execution, codes,
         out.shifts.data(), d, k, stride, padded_k, count, codes_are_aligned(codes, d),
         out.bytes.data(), out.terms.data(), out.largest.data());
  return out;
}

void fill_cell_rows(const int16_t* codes, const CellCentres& centres, const RowTile* tiles,
                    int64_t tile_count, const CellRows& rows, const Execution& execution) {
  launch(encode_rows, {tile_count}, block_threads, 0, execution, codes, centres.shifts.data(),
         centres.d, centres.stride, codes_are_aligned(codes, centres.d), centres.largest.data(),
         tiles, rows.bytes.data(), rows.terms.data());
}

}  // namespace cloister
