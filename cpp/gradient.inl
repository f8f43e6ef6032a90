// The gradient of a softmax regression: scores of a tile of rows, their residuals, and the products
// of the two.

template <int64_t block>
inline void score_row_pair(const SoftmaxTask& task, int64_t first, const int16_t* const (&rows)[2],
                           int32_t* const (&scores)[2], int64_t stride) {
  const int64_t d = task.padded_d;
  const int16_t* weights = task.weights + first * d;
  simd::Int32 products[block][2] = {};
  for (int64_t t = 0; t < d; t += half_lanes) {
    const simd::Int32 x0 = load<simd::Int32>(rows[0] + t), x1 = load<simd::Int32>(rows[1] + t);
#pragma GCC unroll 8
    for (int64_t b = 0; b < block; ++b) {
      const simd::Int32 weight = load<simd::Int32>(weights + b * d + t);
      products[b][0] = simd::add_pair_products(products[b][0], x0, weight);
      products[b][1] = simd::add_pair_products(products[b][1], x1, weight);
    }
  }
  simd::Float32 all[lanes] = {};
  std::memcpy(all, products, sizeof products);
  int32_t values[lanes];
  store(values, sums_of_lanes(all));
  for (int64_t b = 0; b < block; ++b) {
    for (int64_t r = 0; r < 2; ++r) scores[r][(first + b) * stride] = values[2 * b + r];
  }
}

void score_classes(const SoftmaxTask& task, const int16_t* rows, int64_t m, int32_t* scores,
                   int64_t stride) {
  in_blocks<lanes / 2>(0, task.classes, [&](auto width, int64_t first) {
    for (int64_t i = 0; i < m; i += 2) {
      const int64_t other = i + 1 < m ? i + 1 : i;
      score_row_pair<width.value>(task, first,
                                  {rows + i * task.padded_d, rows + other * task.padded_d},
                                  {scores + i, scores + other}, stride);
    }
  });
}

typedef int64_t Int64 __attribute__((vector_size(sizeof(simd::Float64))));
typedef int32_t NarrowInt32 __attribute__((vector_size(sizeof(simd::Float64) / 2)));

// -700 <= x <= 0: no subnormal comes up.
constexpr double least_exponent = -700.0;
[[gnu::always_inline]] inline simd::Float64 exponential(simd::Float64 x) {
  constexpr double log2_e = 0x1.71547652b82fep+0;
  // The first part has 32 bits: its multiples up to 2^20 are exact.
  constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  constexpr double taylor[] = {1.0,         1.0,          1.0 / 2,       1.0 / 6,
                               1.0 / 24,    1.0 / 120,    1.0 / 720,     1.0 / 5040,
                               1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800};
  const simd::Float64 shifted = x * log2_e + rounding_magic;
  const simd::Float64 power = shifted - rounding_magic;
  const simd::Float64 rest = (x - power * ln2_high) - power * ln2_low;
  simd::Float64 value = rest * taylor[11] + taylor[10];
#pragma GCC unroll 16
  for (int i = 9; i >= 0; --i) value = value * rest + taylor[i];
  // The power lies in the low bits of `shifted`, in two's complement: added to the exponent.
  return (simd::Float64)((Int64)value + ((Int64)shifted << 52));
}

// e_j of float64_lanes rows, and their sum.
inline simd::Float64 exponentials_of(const SoftmaxTask& task, const int32_t* scores, int64_t stride,
                                     double* exponentials) {
  simd::Float64 largest = simd::Float64{} - __builtin_inf();
  for (int64_t j = 0; j < task.classes; ++j) {
    const auto score = load<NarrowInt32>(scores + j * stride);
    const simd::Float64 z =
        __builtin_convertvector(score, simd::Float64) * task.scale + task.bias[j];
    store(exponentials + j * float64_lanes, z);
    largest = z > largest ? z : largest;
  }
  simd::Float64 sum = {};
  for (int64_t j = 0; j < task.classes; ++j) {
    double* place = exponentials + j * float64_lanes;
    const simd::Float64 x = load<simd::Float64>(place) - largest;
    const Int64 counts = x >= least_exponent;
    const simd::Float64 e = exponential(counts ? x : simd::Float64{});
    store(place, counts ? e : simd::Float64{});
    sum += counts ? e : simd::Float64{};
  }
  return sum;
}

// Codes of float64_lanes rows before the integer check.
inline void residual_codes(const SoftmaxTask& task, simd::Float64 sum, const int32_t* labels,
                           double* exponentials, int16_t* codes) {
  const auto label = __builtin_convertvector(load<NarrowInt32>(labels), simd::Float64);
  simd::Float64 squares = {};
  for (int64_t j = 0; j < task.classes; ++j) {
    double* place = exponentials + j * float64_lanes;
    const simd::Float64 p = load<simd::Float64>(place) / sum;
    const simd::Float64 r = label == double(j) ? p - 1.0 : p;
    store(place, r);
    squares += r * r;
  }
  simd::Float64 factors;
  for (int64_t lane = 0; lane < float64_lanes; ++lane) {
    factors[lane] = clip_factor(__builtin_sqrt(squares[lane]), task.clip);
  }
  for (int64_t j = 0; j < task.classes; ++j) {
    const auto r = load<simd::Float64>(exponentials + j * float64_lanes);
    // Adding rounding_magic rounds to an integer, left in the low bits of the sum.
    const auto bits = (Int64)(r * factors + rounding_magic);
    for (int64_t lane = 0; lane < float64_lanes; ++lane) {
      codes[j * gradient_stride + lane] = int16_t(bits[lane]);
    }
  }
}

// keep_in_ball of each of m columns: the guarantee rests on it.
inline void keep_columns_in_ball(int16_t* codes, int64_t m, int64_t classes, int64_t bound) {
  int64_t squares[gradient_stride] = {};
  for (int64_t j = 0; j < classes; ++j) {
    const int16_t* row = codes + j * gradient_stride;
    for (int64_t i = 0; i < m; ++i) squares[i] += int32_t(row[i]) * int32_t(row[i]);
  }
  for (int64_t i = 0; i < m; ++i) {
    if (squares[i] <= bound * bound) continue;
    const Scratch<int16_t> column(classes);
    for (int64_t j = 0; j < classes; ++j) column.data[j] = codes[j * gradient_stride + i];
    keep_in_ball(column.data, classes, bound);
    for (int64_t j = 0; j < classes; ++j) codes[j * gradient_stride + i] = column.data[j];
  }
}

void softmax_codes(const SoftmaxTask& task, const int32_t* scores, int64_t stride, int64_t m,
                   const int32_t* labels, double* exponentials, int16_t* codes) {
  for (int64_t i = 0; i < m; i += float64_lanes) {
    const simd::Float64 sum = exponentials_of(task, scores + i, stride, exponentials);
    residual_codes(task, sum, labels + i, exponentials, codes + i);
  }
  keep_columns_in_ball(codes, m, task.classes, task.clip.bound);
}

void add_class_products(const int32_t* packed, const int16_t* codes, int64_t m, int64_t classes,
                        int64_t d, int64_t begin, int64_t end, int64_t* table) {
  const int64_t pairs = (m + 1) / 2, code_pairs = gradient_stride / 2;
  const Scratch<int32_t> words(classes * code_pairs);  // of two neighbours: rows 2t and 2t + 1
  std::memcpy(words.data, codes, size_t(classes * gradient_stride) * sizeof *codes);
  for (int64_t column = begin; column < end; column += panel) {
    const int64_t width = end - column < panel ? end - column : panel;
    in_blocks<simd::broadcast_block>(0, classes, [&](auto block, int64_t first) {
      simd::Int32 products[block.value][2];
      pair_products<block.value>(packed + column * pairs, panel, words.data + first * code_pairs,
                                 code_pairs, 1, pairs, products);
      for (int64_t b = 0; b < block.value; ++b) {
        int32_t values[panel];
        store(values, products[b]);
        int64_t* target = table + (first + b) * d + column;
        for (int64_t j = 0; j < width; ++j) target[j] += values[j];
      }
    });
  }
}
