// The bin of each row on a public grid.

[[gnu::always_inline]] inline int64_t floor_divide(int64_t numerator, int64_t denominator) {
  const int64_t quotient = numerator / denominator;
  return quotient - (numerator % denominator < 0);
}

void bin_rows(const int16_t* codes, int64_t begin, int64_t end, int64_t d, const Grid& grid,
              int64_t* counts) {
  for (int64_t i = begin; i < end; ++i) {
    int64_t bin = 0;
    for (int64_t axis = 0; axis < grid.axes; ++axis) {
      const int16_t* projection = grid.projections + axis * d;
      int32_t position = 0;  // every prefix is within 2^28 by Cauchy-Schwarz
      for (int64_t j = 0; j < d; ++j) {
        position += int32_t(codes[i * d + j]) * int32_t(projection[j]);
      }
      const int64_t cell = floor_divide(position - grid.origins[axis], grid.widths[axis]);
      const int64_t last = grid.cells[axis] - 1;
      bin = bin * grid.cells[axis] + (cell < 0 ? 0 : cell > last ? last : cell);
    }
    counts[bin] += 1;
  }
}
