// Rows of a tile as the products and the distances read them.

// x = row - shift, zeros up to padded_d.
[[gnu::always_inline]] inline void load_shifted(const NearestTask& task, int64_t row, float* x,
                                                int64_t padded_d) {
  const float* source = task.rows + row * task.d;
  for (int64_t t = 0; t < task.d; ++t) x[t] = source[t] - task.shift[t];
  for (int64_t t = task.d; t < padded_d; ++t) x[t] = 0;
}

void encode_nearest_rows(const NearestTask& task, int64_t begin, int64_t end,
                         const ScreenedRows& out) {
  const int64_t padded_d = padded_codes(task.d);
  const Scratch<float> x(padded_d);
  for (int64_t i = begin; i < end; ++i) {
    load_shifted(task, i, x.data, padded_d);
    const Coded coded = encode_bytes(x.data, padded_d, out.codes + (i - begin) * padded_d);
    out.scales[i - begin] = coded.scale;
    out.norms[i - begin] = coded.norm;
    out.errors[i - begin] = coded.error;
  }
}

// packed[p][t][lane] = coordinate t of active row p * panel + lane, less the shift; and the norms.
inline void pack_rows(const NearestTask& task, int64_t begin, const int32_t* active, int64_t count,
                      float* packed, float* norms) {
  const int64_t whole = task.d / lanes * lanes;
  for (int64_t first = 0; first < count; first += lanes) {
    const float* row[lanes];
    for (int64_t lane = 0; lane < lanes; ++lane) {  // past the end: a row again, never looked at
      const int64_t i = first + lane < count ? first + lane : count - 1;
      row[lane] = task.rows + (begin + active[i]) * task.d;
    }
    float* target = packed + first / panel * panel * task.d + first % panel;
    simd::Float32 squares = {};
    for (int64_t t = 0; t < whole; t += lanes) {
      const simd::Float32 shift = load<simd::Float32>(task.shift + t);
      simd::Float32 vectors[lanes];
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i) vectors[i] = load<simd::Float32>(row[i] + t) - shift;
      transpose(vectors);
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i) {
        store(target + (t + i) * panel, vectors[i]);
        squares = simd::multiply_add(vectors[i], vectors[i], squares);
      }
    }
    for (int64_t t = whole; t < task.d; ++t) {
      simd::Float32 column;
      for (int64_t lane = 0; lane < lanes; ++lane) column[lane] = row[lane][t] - task.shift[t];
      store(target + t * panel, column);
      squares = simd::multiply_add(column, column, squares);
    }
    for (int64_t lane = 0; lane < lanes; ++lane) {
      norms[first + lane] = __builtin_sqrtf(squares[lane]) * (1 + float(task.d + 8) * half_ulp);
    }
  }
}
