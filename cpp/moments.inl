// Second moments: an integer product of a tile of residuals with itself.

constexpr int64_t outer_block = lanes >= 8 ? lanes / 2 : 4;  // rows of a block: divides a panel

// packed[p][t][lane] = coordinate p * panel + lane of residuals 2t and 2t + 1; zeros past the ends.
inline void pack_residuals(const int16_t* residuals, int64_t m, int64_t d, int32_t* packed) {
  const auto pack_pair = [packed](const int16_t* low, const int16_t* high, int64_t at) {
    for (int64_t j = 0; j < panel; ++j) {
      packed[at + j] = int32_t(uint32_t(uint16_t(high[j])) << 16 | uint16_t(low[j]));
    }
  };
  const int64_t pairs = (m + 1) / 2, whole = d / panel * panel;
  const Scratch<int16_t> no_row(d);
  for (int64_t t = 0; t < pairs; ++t) {
    const int16_t* low = residuals + 2 * t * d;
    const int16_t* high = 2 * t + 1 < m ? low + d : no_row.data;
    for (int64_t j = 0; j < whole; j += panel) pack_pair(low + j, high + j, j * pairs + t * panel);
    if (whole < d) {
      int16_t rest[2][panel] = {};
      std::memcpy(rest[0], low + whole, size_t(d - whole) * sizeof *low);
      std::memcpy(rest[1], high + whole, size_t(d - whole) * sizeof *high);
      pack_pair(rest[0], rest[1], whole * pairs + t * panel);
    }
  }
}

// Adds products[b][j] to the entry (row + b, column + j) of the square if it lies on or above the
// diagonal.
template <int64_t vectors>
inline void add_products(const simd::Int32 (&products)[outer_block][vectors], int64_t row,
                         int64_t column, int64_t d, int64_t* square) {
  constexpr int64_t width = vectors * lanes;
  const bool whole = row + outer_block <= column && column + width <= d;
  for (int64_t b = 0; b < outer_block && row + b < d; ++b) {
    int32_t values[width];
    store(values, products[b]);
    int64_t* target = square + (row + b) * d + column;
    if (whole) {
      for (int64_t j = 0; j < width; ++j) target[j] += values[j];
    } else {
      for (int64_t j = row + b > column ? row + b - column : 0; j < width && column + j < d; ++j) {
        target[j] += values[j];
      }
    }
  }
}

void add_outer_products(const int16_t* residuals, int64_t m, int64_t d, int32_t* packed,
                        int64_t* square) {
  const int64_t pairs = (m + 1) / 2;
  pack_residuals(residuals, m, d, packed);
  for (int64_t row = 0; row < d; row += outer_block) {
    int64_t column = row / panel * panel;
    const int32_t* rows = packed + column * pairs + row % panel;
    if (row % panel >= lanes) {  // the first vector of this panel lies below the diagonal
      simd::Int32 products[outer_block][1];
      pair_products<outer_block>(packed + column * pairs + lanes, panel, rows, 1, panel, pairs,
                                 products);
      add_products(products, row, column + lanes, d, square);
      column += panel;
    }
    for (; column < d; column += panel) {
      simd::Int32 products[outer_block][2];
      pair_products<outer_block>(packed + column * pairs, panel, rows, 1, panel, pairs, products);
      add_products(products, row, column, d, square);
    }
  }
}
