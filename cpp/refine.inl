// A second look at the candidates that the screen left to a row, by finer codes of the centres.

// Products of a row's codes with two sets of codes.
struct TwoProducts {
  int32_t first, second;
};

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

[[gnu::always_inline]] inline TwoProducts byte_products(const uint8_t* row, const int8_t* first,
                                                        const int8_t* second, int64_t padded_d) {
  simd::Int32 sums{}, more{};
  for (int64_t t = 0; t < padded_d; t += code_step) {
    sums = add_codes(sums, row + t, first + t);
    more = add_codes(more, row + t, second + t);
  }
  return {simd::sum(sums), simd::sum(more)};
}

// A row's codes and what is known of them.
struct RowCodes {
  const uint8_t* codes;
  double scale, norm, error, ground;
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

// Keeps those candidates that may still be nearest, in their order; returns how many. With b the
// best by these scores and j another, the error of score_j - score_b is at most
// |x - x'| |c_j - c_b| + |x'| (what the finer codes leave out of c_j and c_b).
inline int64_t refine(const ScreenedCentres& centres, const RowCodes& row, int64_t d,
                      int32_t* candidates, int64_t count, double* scores) {
  const int64_t padded_d = padded_codes(d);
  int64_t best = 0;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t j = candidates[p];
    const TwoProducts products = byte_products(row.codes, centres.codes + j * padded_d,
                                               centres.fine_codes + j * padded_d, padded_d);
    const double coarse = double(centres.scales[j]) * (products.first + centres.offsets[j]);
    const double fine =
        double(centres.fine_scales[j]) * (products.second + centres.fine_offsets[j]);
    scores[p] = double(centres.half_norms[j]) - row.scale * (coarse + fine);
    if (scores[p] < scores[best]) best = p;
  }
  const int64_t b = candidates[best];
  const double size = row.norm + row.error;
  int64_t kept = 0;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t j = candidates[p];
    const double gap = scores[p] - scores[best];
    const double rounding = half_ulp * (double(centres.half_norms[j]) + centres.half_norms[b]);
    const double rest =
        size * (double(centres.fine_errors[j]) + centres.fine_errors[b]) + rounding + row.ground;
    const double far = row.error * (double(centres.norms[j]) + centres.norms[b]) + rest;
    if (p != best &&
        (gap > far || gap > row.error * distance_between(centres, j, b, padded_d) + rest)) {
      continue;
    }
    candidates[kept++] = int32_t(j);
  }
  return kept;
}
