// What the columns of a few rows add up to and lie between.

bool add_ranges(const float* rows, int64_t n, int64_t d, double* sums, float* lowest,
                float* highest) {
  uint32_t is_bad = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float* row = rows + i * d;
    for (int64_t t = 0; t < d; ++t) {
      const float x = row[t];
      const uint32_t bits = __builtin_bit_cast(uint32_t, x);
      is_bad |= uint32_t((bits & 0x7F800000u) == 0x7F800000u);
      sums[t] += double(x);
      lowest[t] = x < lowest[t] ? x : lowest[t];
      highest[t] = x > highest[t] ? x : highest[t];
    }
  }
  return is_bad == 0;
}
