// Centres as the screen reads them.

// Codes of what is left of x, which the codes replace; signed. Returns the code's scale and error.
inline Coded encode_centre(float* x, int64_t padded_d, int8_t* codes, int32_t* offset) {
  const Coded coded = encode_bytes(x, padded_d, (uint8_t*)codes);
  *offset = 0;
  for (int64_t t = 0; t < padded_d; ++t) {
    codes[t] = int8_t(codes[t] ^ 0x80);
    *offset -= 128 * codes[t];
    x[t] = __builtin_fmaf(-coded.scale, float(codes[t]), x[t]);
  }
  return coded;
}

inline double exact_norm_squared(const float* x, int64_t padded_d) {
  double squares[4] = {};
  for (int64_t t = 0; t < padded_d; ++t) squares[t % 4] += double(x[t]) * double(x[t]);
  return squares[0] + squares[1] + (squares[2] + squares[3]);
}

// Lays out the centres begin .. end, in whole blocks, given from `begin` on; those from k on are
// infinitely far.
void prepare_centres(const float* centres, int64_t d, int64_t k, int64_t begin, int64_t end,
                     const ScreenedCentres& out) {
  const int64_t padded_d = padded_codes(d);
  const Scratch<float> padded(padded_d);
  float* x = padded.data;
  for (int64_t j = begin; j < end; ++j) {
    uint32_t* words = out.blocks + j / out.width * out.steps * out.width + j % out.width;
    out.offsets[j] = 0;
    out.scales[j] = out.products == Products::float32;
    out.norms[j] = out.errors[j] = 0;
    out.half_norms[j] = __builtin_inff();
    if (j >= k) {
      for (int64_t t = 0; t < out.steps; ++t) words[t * out.width] = 0;
      continue;
    }
    std::memcpy(x, centres + (j - begin) * d, size_t(d) * sizeof(float));
    for (int64_t t = d; t < padded_d; ++t) x[t] = 0;
    const double norm_squared = exact_norm_squared(x, padded_d);
    out.half_norms[j] = float(norm_squared / 2);
    out.norms[j] = float(__builtin_sqrt(norm_squared)) * (1 + 4 * half_ulp);
    if (out.products == Products::float32) {
      for (int64_t t = 0; t < d; ++t) std::memcpy(words + t * out.width, x + t, 4);
      continue;
    }
    int8_t* codes = out.codes + j * padded_d;
    const Coded coded = encode_centre(x, padded_d, codes, out.offsets + j);
    for (int64_t t = 0; t < out.steps; ++t) std::memcpy(words + t * out.width, codes + 4 * t, 4);
    int64_t code_squares = 0;
    for (int64_t t = 0; t < padded_d; ++t) code_squares += codes[t] * codes[t];
    out.code_norms[j] = float(coded.scale * __builtin_sqrt(double(code_squares)));
    out.scales[j] = coded.scale;
    out.errors[j] = coded.error;
    // One centre whose codes are poor shall not spoil the bound of all.
    out.norms[j] = coded.error * 32 > out.norms[j] ? coded.error * 32 : out.norms[j];
    const Coded fine =
        encode_centre(x, padded_d, out.fine_codes + j * padded_d, out.fine_offsets + j);
    out.fine_scales[j] = fine.scale;
    // The remainder that was encoded is itself rounded.
    out.fine_errors[j] = fine.error + 4 * half_ulp * out.norms[j];
  }
}
