// A second look at the candidates that the screen left to a row, by finer codes of the centres.

constexpr int64_t code_step = int64_t(sizeof(simd::Int32));

[[gnu::always_inline]] inline simd::Int32 add_codes(simd::Int32 sum, const uint8_t* row,
                                                    const int8_t* other) {
  return simd::add_byte_products(sum, load<simd::Int32>(row), load<simd::Int32>(other));
}

[[gnu::always_inline]] inline int32_t byte_product(const uint8_t* row, const int8_t* other,
                                                   int64_t padded_d) {
  simd::Int32 even{}, odd{};
  int64_t t = 0;
  for (; t + 2 * code_step <= padded_d; t += 2 * code_step) {
    even = add_codes(even, row + t, other + t);
    odd = add_codes(odd, row + t + code_step, other + t + code_step);
  }
  if (t < padded_d) even = add_codes(even, row + t, other + t);
  return simd::sum(even + odd);
}

// A row's codes and what is known of them.
struct RowCodes {
  const uint8_t* codes;
  float scale, norm, error, ground, slope;
};

// At least |c_j - c_b|: that of the codes, and what they leave out.
inline double distance_between(const ScreenedCentres& centres, int64_t j, int64_t b,
                               int64_t padded_d) {
  // Codes of b with an offset of 128, as those of a row are.
  simd::Int32 sums = {};
  const int8_t* first = centres.codes + j * padded_d;
  const int8_t* second = centres.codes + b * padded_d;
  for (int64_t t = 0; t < padded_d; t += code_step) {
    const simd::Int32 offset = simd::Int32{} + int32_t(0x80808080u);
    sums = simd::add_byte_products(sums, load<simd::Int32>(second + t) ^ offset,
                                   load<simd::Int32>(first + t));
  }
  const double product = double(simd::sum(sums) + centres.offsets[j]);
  const double norm_j = centres.code_norms[j], norm_b = centres.code_norms[b];
  const double squared =
      norm_j * norm_j + norm_b * norm_b - 2.0 * centres.scales[j] * centres.scales[b] * product;
  const double slack = 1e-6 * (norm_j * norm_j + norm_b * norm_b);  // of the float32 norms
  return __builtin_sqrt(squared + slack > 0 ? squared + slack : 0) + centres.errors[j] +
         centres.errors[b];
}

void measure_centres(const ScreenedCentres& centres, int64_t d, int64_t k, int64_t begin,
                     int64_t end, float* apart) {
  for (int64_t j = begin; j < end; ++j) {
    for (int64_t b = 0; b < k; ++b) {
      apart[j * k + b] =
          float(distance_between(centres, j, b, padded_codes(d))) * (1 + 2 * half_ulp);
    }
  }
}

// Keeps those candidates that may still be nearest, in their order; returns how many. `lowers` are
// the screen's lower bounds, and receive other numbers. With b the best by the finer scores and j
// another, the error of score_j - score_b is at most
// |x - x'| |c_j - c_b| + |x'| (what the finer codes leave out of c_j and c_b).
inline int64_t refine(const ScreenedCentres& centres, const RowCodes& row, int64_t d, int64_t k,
                      int32_t* candidates, int64_t count, float* lowers) {
  const int64_t padded_d = padded_codes(d);
  int64_t best = 0;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t j = candidates[p];
    const int32_t product = byte_product(row.codes, centres.fine_codes + j * padded_d, padded_d) +
                            centres.fine_offsets[j];
    const float coarse = lowers[p] + row.slope * centres.norms[j];
    lowers[p] = coarse - row.scale * centres.fine_scales[j] * float(product);
    if (lowers[p] < lowers[best]) best = p;
  }
  const int64_t b = candidates[best];
  const float size = row.norm + row.error;
  // Of the scores' own arithmetic, whose terms are at most (|x| + |c|) |c|.
  const float rounding = 24 * half_ulp * (size + centres.largest_norm);
  const float least = lowers[best] + row.ground;
  int64_t kept = 0;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t j = candidates[p];
    const float gap = lowers[p] - least;
    const float norms = centres.norms[j] + centres.norms[b];
    const float rest = size * (centres.fine_errors[j] + centres.fine_errors[b]) + rounding * norms;
    bool is_farther = gap > row.error * norms + rest;
    if (!is_farther && p != best) {
      const float apart = centres.apart ? centres.apart[j * k + b]
                                        : float(distance_between(centres, j, b, padded_d));
      is_farther = gap > row.error * apart * (1 + 8 * half_ulp) + rest;
    }
    candidates[kept] = int32_t(j);
    kept += p == best || !is_farther;
  }
  return kept;
}
