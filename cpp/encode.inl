// Rows of any floating dtype to codes: convert, measure, scale, round, check.

[[gnu::always_inline]] inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// IEEE binary16, by rebiasing the exponent; subnormals are normalised by a subtraction.
[[gnu::always_inline]] inline float from_half(uint16_t half) {
  const uint32_t magnitude = uint32_t(half & 0x7fffu) << 13;
  const uint32_t exponent = magnitude & 0x0f800000u;
  const float normal = from_bits(magnitude + (112u << 23));
  const float special = from_bits(magnitude + (224u << 23));  // infinity, NaN
  const float subnormal = from_bits(magnitude + (113u << 23)) - from_bits(113u << 23);
  const float absolute = exponent == 0x0f800000u ? special : exponent == 0 ? subnormal : normal;
  return (half & 0x8000u) ? -absolute : absolute;
}

inline void load_row(const void* rows, Dtype dtype, int64_t offset, int64_t d, float* row) {
  if (dtype == Dtype::float32) {
    std::memcpy(row, static_cast<const float*>(rows) + offset, size_t(d) * sizeof(float));
  } else if (dtype == Dtype::float64) {
    const double* source = static_cast<const double*>(rows) + offset;
    for (int64_t j = 0; j < d; ++j) row[j] = float(source[j]);
  } else {
    const uint16_t* source = static_cast<const uint16_t*>(rows) + offset;
    if (dtype == Dtype::float16) {
      for (int64_t j = 0; j < d; ++j) row[j] = from_half(source[j]);
    } else {
      for (int64_t j = 0; j < d; ++j) row[j] = from_bits(uint32_t(source[j]) << 16);
    }
  }
}

constexpr int64_t norm_lanes = 16;

inline bool all_finite(const float* row, int64_t d) {
  uint32_t found = 0;
  for (int64_t j = 0; j < d; ++j) {
    uint32_t bits;
    std::memcpy(&bits, row + j, sizeof bits);
    found |= uint32_t((bits & 0x7f800000u) == 0x7f800000u);
  }
  return found == 0;
}

// Squares of float32 are exact in float64: whether a target fuses the sum makes no difference.
inline double row_norm(const float* row, int64_t padded_d) {
  double sums[norm_lanes] = {};
  for (int64_t j = 0; j < padded_d; j += norm_lanes) {
    for (int64_t lane = 0; lane < norm_lanes; ++lane) {
      sums[lane] += double(row[j + lane]) * double(row[j + lane]);
    }
  }
  for (int64_t half = norm_lanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return __builtin_sqrt(sums[0]);
}

void encode_rows(const void* rows, Dtype dtype, int64_t row_stride, int64_t begin, int64_t end,
                 int64_t d, Clip clip, int16_t* codes, uint8_t* valid) {
  const int64_t padded_d = (d + norm_lanes - 1) / norm_lanes * norm_lanes;
  const Scratch<float> copy(padded_d);  // what is measured and rounded: zeros past the end
  float* row = copy.data;
  for (int64_t i = begin; i < end; ++i) {
    int16_t* code = codes + i * d;
    load_row(rows, dtype, i * row_stride, d, row);
    valid[i] = all_finite(row, d);
    const double factor = valid[i] ? clip_factor(row_norm(row, padded_d), clip) : 0.0;
    for (int64_t j = 0; j < d; ++j) {
      const double scaled = valid[i] ? double(row[j]) * factor : 0.0;
      code[j] = int16_t(int32_t(rint_small(scaled)));
    }
    keep_in_ball(code, d, clip.bound);
  }
}
