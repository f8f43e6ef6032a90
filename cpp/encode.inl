// Rows of any floating dtype to codes: convert, measure, scale, round, check.

[[gnu::always_inline]] inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void load_half_row(const uint16_t* source, int64_t d, float* row) {
  int64_t j = 0;
  for (; j + lanes <= d; j += lanes) store(row + j, simd::load_halves(source + j));
  uint16_t rest[lanes] = {};
  std::memcpy(rest, source + j, size_t(d - j) * sizeof *rest);
  const simd::Float32 last = simd::load_halves(rest);
  std::memcpy(row + j, &last, size_t(d - j) * sizeof *row);
}

// A row as float32; the scratch behind it stays zero up to a multiple of norm_lanes.
inline void load_row(const void* rows, Dtype dtype, int64_t offset, int64_t d, float* row) {
  if (dtype == Dtype::float32) {
    std::memcpy(row, static_cast<const float*>(rows) + offset, size_t(d) * sizeof(float));
  } else if (dtype == Dtype::float64) {
    const double* source = static_cast<const double*>(rows) + offset;
    for (int64_t j = 0; j < d; ++j) row[j] = float(source[j]);
  } else {
    const uint16_t* source = static_cast<const uint16_t*>(rows) + offset;
    if (dtype == Dtype::float16) {
      load_half_row(source, d, row);
    } else {
      for (int64_t j = 0; j < d; ++j) row[j] = from_bits(uint32_t(source[j]) << 16);
    }
  }
}

constexpr int64_t norm_lanes = clip_step;

// Squares of float32 are exact in float64: whether a target fuses the sum makes no difference.
// They stay below 2^256, so a sum over a row is finite exactly if every coordinate is.
inline double row_norm_squared(const float* row, int64_t padded_d) {
  simd::Float64 sums[clip_vectors] = {};
  for (int64_t j = 0; j < padded_d; j += norm_lanes) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < clip_vectors; ++v) {
      const simd::Float64 x = simd::widen(row + j + v * float64_lanes);
      sums[v] += x * x;
    }
  }
  double folded[norm_lanes];
  std::memcpy(folded, sums, sizeof folded);
  for (int64_t half = norm_lanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) folded[lane] += folded[lane + half];
  }
  return folded[0];
}

inline void round_row(const float* row, int64_t padded_d, double factor, int16_t* code) {
  for (int64_t j = 0; j < padded_d; j += clip_step) {
    simd::Float64 v[clip_vectors];
#pragma GCC unroll 8
    for (int64_t i = 0; i < clip_vectors; ++i) v[i] = simd::widen(row + j + i * float64_lanes);
    round_step(v, factor, code + j);
  }
}

// Writes past the caches, which a large output would only flood: a plain store would first read
// what it overwrites. The caller needs a fence before others may read.
inline void stream_out(int16_t* target, const int16_t* source, int64_t count) {
#if defined(__SSE2__)
  for (; count > 0 && uintptr_t(target) % 16 != 0; --count) *target++ = *source++;
  for (; count >= 8; count -= 8, target += 8, source += 8) {
    _mm_stream_si128((__m128i*)target, load<__m128i>(source));
  }
#endif
  std::memcpy(target, source, size_t(count) * sizeof(int16_t));
}

// Asks for a row of the next group while this one keeps the processor, not the memory, busy.
inline void prefetch_row(const void* rows, Dtype dtype, int64_t offset, int64_t d) {
  const int64_t item = dtype == Dtype::float32 ? 4 : dtype == Dtype::float64 ? 8 : 2;
  const char* row = static_cast<const char*>(rows) + offset * item;
  for (int64_t byte = 0; byte < d * item; byte += 64) __builtin_prefetch(row + byte);
}

constexpr int64_t group_floats = 4096;  // of the rows at hand: with their codes, in the first cache

// Rows go through each step in groups, so that a row does not wait for the steps of its own.
void encode_rows(const void* rows, Dtype dtype, int64_t row_stride, int64_t begin, int64_t end,
                 int64_t d, Clip clip, int16_t* codes, uint8_t* valid) {
  const int64_t padded_d = (d + norm_lanes - 1) / norm_lanes * norm_lanes;
  const int64_t group = group_floats / padded_d > 1 ? group_floats / padded_d : 1;
  const Scratch<float> copies(group * padded_d);  // what is measured and rounded
  const Scratch<int16_t> staged(group * d + norm_lanes);
  const Scratch<double> norms_squared(group);
  for (int64_t first = begin; first < end; first += group) {
    const int64_t count = end - first < group ? end - first : group;
    for (int64_t i = 0; i < count; ++i) {
      float* row = copies.data + i * padded_d;
      load_row(rows, dtype, (first + i) * row_stride, d, row);
      norms_squared.data[i] = row_norm_squared(row, padded_d);
    }
    for (int64_t i = 0; i < count; ++i) {
      const double norm_squared = norms_squared.data[i];
      const int64_t next = first + i + count;
      if (next < end) prefetch_row(rows, dtype, next * row_stride, d);
      valid[first + i] = norm_squared <= __DBL_MAX__;
      if (valid[first + i]) {  // the zeros written past its end belong to the next row
        const double factor = clip_factor(__builtin_sqrt(norm_squared), clip);
        round_row(copies.data + i * padded_d, padded_d, factor, staged.data + i * d);
      } else {
        for (int64_t j = 0; j < d; ++j) staged.data[i * d + j] = 0;
      }
    }
    for (int64_t i = 0; i < count; ++i) keep_in_ball(staged.data + i * d, d, clip.bound);
    stream_out(codes + first * d, staged.data, count * d);
  }
#if defined(__SSE2__)
  _mm_sfence();
#endif
}
