// Rows of a Gaussian mixture that share a covariance: normals times factors, register-blocked.

constexpr int64_t sample_block = lanes == 16 ? 8 : 4;  // rows of one block of accumulators
constexpr int64_t sample_width = 3;                    // and its vectors of columns

constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// The counters of rows[0] .. rows[count - 1]; lanes past the end repeat the last row.
inline RowCounters row_counters(const SampleTask& task, const int64_t* rows, int64_t count) {
  RowCounters counters;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const int64_t row = task.first_row + rows[lane < count ? lane : count - 1];
    counters.row[lane % 2][lane / 2] = uint64_t(row);
  }
  return counters;
}

// normals[p][t][r] = z_t of row rows[p * sample_block + r], t < rank rounded up to blocks of 4; for
// `count` rows rounded up to vectors of lanes.
inline void fill_normals(const SampleTask& task, const int64_t* rows, int64_t count,
                         float* normals) {
  const int64_t panel_size = round_up(task.mixture.rank, 4) * sample_block;
  for (int64_t first = 0; first < count;
       first += lanes, normals += lanes / sample_block * panel_size) {
    const RowCounters counters = row_counters(task, rows + first, count - first);
    for (int64_t block = 0; 4 * block < task.mixture.rank; ++block) {
      simd::Float32 z[4];
      normal_block(counters, block, task.seed, z);
      for (int c = 0; c < 4; ++c) {
        float row_values[lanes];
        store(row_values, z[c]);
        for (int64_t p = 0; p < lanes / sample_block; ++p) {
          std::memcpy(normals + p * panel_size + (4 * block + c) * sample_block,
                      row_values + p * sample_block, sample_block * sizeof(float));
        }
      }
    }
  }
}

// Columns from `column` on of a row of d, one vector of them: zeros past the end.
[[gnu::always_inline]] inline simd::Float32 load_columns(const float* row, int64_t column,
                                                         int64_t d) {
  if (column + lanes <= d) return load<simd::Float32>(row + column);
  simd::Float32 vector{};
  for (int64_t j = column; j < d; ++j) vector[j - column] = row[j];
  return vector;
}

[[gnu::always_inline]] inline void store_columns(float* row, int64_t column, int64_t d,
                                                 const simd::Float32& vector) {
  if (column + lanes <= d) return store(row + column, vector);
  for (int64_t j = column; j < d; ++j) row[j] = vector[j - column];
}

// products[r][v] = sum over t < count of normals[t][r] * packed[t][v], in order, from zero.
template <int64_t width>
[[gnu::always_inline]] inline void factor_products(const float* normals, const float* packed,
                                                   int64_t count,
                                                   simd::Float32 (&products)[sample_block][width]) {
  for (int64_t r = 0; r < sample_block; ++r) {
    for (int64_t v = 0; v < width; ++v) products[r][v] = simd::Float32{};
  }
  for (int64_t t = 0; t < count; ++t, normals += sample_block, packed += width * lanes) {
    simd::Float32 factor[width];
    for (int64_t v = 0; v < width; ++v) factor[v] = load<simd::Float32>(packed + v * lanes);
#pragma GCC unroll 8
    for (int64_t r = 0; r < sample_block; ++r) {
      const simd::Float32 normal = broadcast(normals[r]);
#pragma GCC unroll 4
      for (int64_t v = 0; v < width; ++v) {
        products[r][v] = simd::multiply_add(normal, factor[v], products[r][v]);
      }
    }
  }
}

struct Range {
  int64_t begin, end;
};

// packed[t - begin] = the `width` vectors of columns from `first` on of factors (rank, d), for the
// range of t outside of which all of them are zero: half of a Cholesky factor. To leave out zeros
// changes no bit: before the range they add to a sum of +0, after it to one that is not zero or
// whose sign finish_rows and multiply_columns drop.
template <int64_t width>
inline Range pack_factors(const float* factors, int64_t rank, int64_t d, int64_t first,
                          float* packed) {
  Range used{0, 0};
  for (int64_t t = 0; t < rank; ++t) {
    simd::Int32 magnitudes{};
    for (int64_t v = 0; v < width; ++v) {
      const simd::Float32 factor = load_columns(factors + t * d, first + v * lanes, d);
      store(packed + (t - used.begin) * width * lanes + v * lanes, factor);
      magnitudes |= (simd::Int32)factor << 1;
    }
    int32_t words[lanes], any = 0;
    store(words, magnitudes);
    for (int64_t lane = 0; lane < lanes; ++lane) any |= words[lane];
    if (any != 0) used.end = t + 1;
    if (used.end == 0) used.begin = t + 1;
  }
  return used.end == 0 ? Range{0, 0} : used;
}

// The `width` vectors of columns from `first` on of normals * factors, to which finish_rows adds if
// there are scales, or the mean is added here.
template <int64_t width>
inline void multiply_columns(const SampleTask& task, const int64_t* rows, int64_t count,
                             const float* normals, const float* factors, int64_t first,
                             float* packed, float* out) {
  const int64_t rank = task.mixture.rank, d = task.d;
  const Range used = pack_factors<width>(factors, rank, d, first, packed);
  for (int64_t i = 0; i < count; i += sample_block) {
    simd::Float32 products[sample_block][width];
    factor_products<width>(normals + i * round_up(rank, 4) + used.begin * sample_block, packed,
                           used.end - used.begin, products);
    for (int64_t r = 0; r < sample_block && i + r < count; ++r) {
      const float* mean = task.mixture.means + task.components[rows[i + r]] * d;
      for (int64_t v = 0; v < width; ++v) {
        const int64_t column = first + v * lanes;
        simd::Float32 value = products[r][v];
        if (!task.mixture.scales) value = load_columns(mean, column, d) + (value + 0.0f);
        store_columns(out + rows[i + r] * d, column, d, value);
      }
    }
  }
}

// out += scales * z_(rank + .), then out += mean, for up to `lanes` rows; own: scratch for their
// normals, (lanes, stride) with those of coordinate t at own[.][t - first].
inline void finish_rows(const SampleTask& task, const int64_t* rows, int64_t count,
                        const float* scales, float* own, float* out) {
  const int64_t rank = task.mixture.rank, d = task.d;
  const int64_t first = rank / 4 * 4, stride = round_up(rank + d, 4) - first;
  const RowCounters counters = row_counters(task, rows, count);
  for (int64_t t = 0; t < stride; t += 4) {
    simd::Float32 z[4];
    normal_block(counters, (first + t) / 4, task.seed, z);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      for (int c = 0; c < 4; ++c) own[lane * stride + t + c] = z[c][lane];
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const float* mean = task.mixture.means + task.components[rows[i]] * d;
    const float* z = own + i * stride + (rank - first);
    float* row = out + rows[i] * d;
    for (int64_t j = 0; j < d; j += lanes) {
      const simd::Float32 product = rank > 0 ? load_columns(row, j, d) : simd::Float32{};
      const simd::Float32 deviation =
          simd::multiply_add(load_columns(z, j, d), load_columns(scales, j, d), product);
      store_columns(row, j, d, load_columns(mean, j, d) + (deviation + 0.0f));
    }
  }
}

void sample_rows(const SampleTask& task, const int64_t* rows, int64_t count, float* out) {
  const Mixture& mixture = task.mixture;
  const int64_t rank = mixture.rank, d = task.d;
  const int64_t covariance = mixture.covariance_of[task.components[rows[0]]];
  const float* factors = mixture.factors + covariance * rank * d;
  const float* scales = mixture.scales ? mixture.scales + covariance * d : nullptr;
  if (rank > 0 || !scales) {
    const Scratch<float> normals_scratch(round_up(count, lanes) * round_up(rank, 4));
    const Scratch<float> packed_scratch(rank * sample_width * lanes);
    float* normals = normals_scratch.data;
    float* packed = packed_scratch.data;
    fill_normals(task, rows, count, normals);
    in_blocks<sample_width>(0, (d + lanes - 1) / lanes, [&](auto width, int64_t vector) {
      multiply_columns<width.value>(task, rows, count, normals, factors, vector * lanes, packed,
                                    out);
    });
  }
  if (scales) {
    const Scratch<float> own_scratch(lanes * (d + 8));
    float* own = own_scratch.data;
    for (int64_t i = 0; i < count; i += lanes) {
      finish_rows(task, rows + i, count - i < lanes ? count - i : lanes, scales, own, out);
    }
  }
}
