// Distances of rows to all centres in float32, and to their own centre in float64.

constexpr int64_t chain_length = 256;

// squares[b] = |x - c_b|^2 for the rows x of a panel and a block of centres.
template <int64_t width>
[[gnu::always_inline]] inline void chained_squares(const float* packed, const uint32_t* words,
                                                   int64_t d, simd::Float32 (&squares)[width][2]) {
  for (int64_t b = 0; b < width; ++b) squares[b][0] = squares[b][1] = simd::Float32{};
  for (int64_t start = 0; start < d; start += chain_length) {
    const int64_t stop = d - start < chain_length ? d : start + chain_length;
    simd::Float32 chains[width][2];
    for (int64_t b = 0; b < width; ++b) chains[b][0] = chains[b][1] = simd::Float32{};
    for (int64_t t = start; t < stop; ++t) {
      const simd::Float32 first = load<simd::Float32>(packed + t * panel);
      const simd::Float32 second = load<simd::Float32>(packed + t * panel + lanes);
#pragma GCC unroll 16
      for (int64_t b = 0; b < width; ++b) {
        const simd::Float32 centre = (simd::Float32)(simd::Int32{} + int32_t(words[t * width + b]));
        const simd::Float32 low = first - centre, high = second - centre;
        chains[b][0] = simd::multiply_add(low, low, chains[b][0]);
        chains[b][1] = simd::multiply_add(high, high, chains[b][1]);
      }
    }
    for (int64_t b = 0; b < width; ++b) {
      squares[b][0] += chains[b][0];
      squares[b][1] += chains[b][1];
    }
  }
}

template <int64_t width = simd::broadcast_block>
inline void measure_all(const NearestTask& task, const ScreenedCentres& centres,
                        const float* packed, int64_t rows, Checkpoint& checkpoint,
                        float* all_distances) {
  if constexpr (width > 1) {
    if (centres.width != width) {
      return measure_all<width - 1>(task, centres, packed, rows, checkpoint, all_distances);
    }
  }
  for (int64_t first = 0; first < centres.count; first += width) {
    checkpoint.pass(width * rows * task.d);
    const int64_t used = task.k - first < width ? task.k - first : width;
    for (int64_t start = 0; start < rows; start += panel) {
      simd::Float32 squares[width][2];
      chained_squares<width>(packed + start * task.d, centres.blocks + first * task.d, task.d,
                             squares);
      float values[width][panel];
      std::memcpy(values, squares, sizeof values);
      const int64_t here = rows - start < panel ? rows - start : panel;
      for (int64_t i = 0; i < here; ++i) {
        float* target = all_distances + (start + i) * task.k + first;
        for (int64_t b = 0; b < used; ++b) target[b] = values[b][i];
      }
    }
  }
}

void all_distances_rows(const NearestTask& task, const ScreenedCentres& centres, int64_t begin,
                        int64_t end, NearestScratch& scratch, float* all_distances) {
  for (int64_t i = 0; i < end - begin; ++i) scratch.active[i] = int32_t(i);
  pack_rows(task, begin, scratch.active, end - begin, (float*)scratch.packed, scratch.rows.norms);
  measure_all(task, centres, (const float*)scratch.packed, end - begin, *scratch.checkpoint,
              all_distances);
}

// A square's rounding and a sum's: no product is fused, so that all targets agree.
inline double squared_distance(const float* row, const float* shift, const float* centre,
                               int64_t d) {
  constexpr int64_t width = 8;
  double sums[width] = {};
  int64_t t = 0;
  for (; t + width <= d; t += width) {
    for (int64_t lane = 0; lane < width; ++lane) {
      const float x = row[t + lane] - shift[t + lane];
      const double difference = double(x) - double(centre[t + lane]);
      sums[lane] += difference * difference;
    }
  }
  for (int64_t lane = 0; t + lane < d; ++lane) {
    const float x = row[t + lane] - shift[t + lane];
    const double difference = double(x) - double(centre[t + lane]);
    sums[lane] += difference * difference;
  }
  for (int64_t half = width / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

void label_distances(const NearestTask& task, int64_t begin, int64_t end, const int32_t* labels,
                     double* distances) {
  for (int64_t i = begin; i < end; ++i) {
    const float* centre = task.centres + labels[i - begin] * task.d;
    distances[i - begin] = squared_distance(task.rows + i * task.d, task.shift, centre, task.d);
  }
}
