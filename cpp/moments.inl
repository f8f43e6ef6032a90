// Second moments: an integer product of a tile of residuals with itself.

void add_outer_products(const int16_t* residuals, int64_t m, int64_t d, int64_t* square) {
  const int64_t width = (d + panel - 1) / panel * panel;
  const int64_t pairs = (m + 1) / 2;
  // packed[t][j] = coordinate j of rows 2t, 2t + 1; zeros past either end.
  const Scratch<int32_t> scratch(pairs * width);
  int32_t* packed = scratch.data;
  for (int64_t t = 0; t < pairs; ++t) {
    const int16_t* low = residuals + 2 * t * d;
    const bool has_high = 2 * t + 1 < m;
    for (int64_t j = 0; j < d; ++j) {
      const uint32_t high = has_high ? uint32_t(uint16_t(low[d + j])) << 16 : 0u;
      packed[t * width + j] = int32_t(high | uint16_t(low[j]));
    }
  }
  in_blocks<simd::broadcast_block>(0, d, [&](auto block, int64_t row) {
    for (int64_t column = row / panel * panel; column < d; column += panel) {
      simd::Int32 products[block.value][2];
      pair_products<block.value>(packed + column, width, packed + row, 1, width, pairs, products);
      for (int64_t b = 0; b < block.value; ++b) {
        int32_t values[panel];
        store(values, products[b]);
        const int64_t from = column > row + b ? column : row + b;
        const int64_t to = column + panel < d ? column + panel : d;
        int64_t* target = square + (row + b) * d;
        for (int64_t j = from; j < to; ++j) target[j] += values[j - column];
      }
    }
  });
}
