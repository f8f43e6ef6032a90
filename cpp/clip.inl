// Clip of kernels.hpp: real or integer vectors to integer vectors inside the ball.

// Memory of one call, given back also when another allocation fails. It starts a cache line.
template <class T>
struct Scratch {
  static constexpr std::align_val_t line{64};
  T* data;
  explicit Scratch(int64_t n) : data((T*)::operator new(size_t(n) * sizeof(T), line)) {
    std::memset((void*)data, 0, size_t(n) * sizeof(T));
  }
  ~Scratch() { ::operator delete(data, line); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

[[gnu::always_inline]] inline double rint_small(double x) {
  return (x + rounding_magic) - rounding_magic;
}

constexpr int64_t half_lanes = int64_t(sizeof(simd::Int32) / sizeof(int16_t));

// Whether sum code_i^2 <= bound^2, of any int16 codes and a bound of at most 2^14.
[[gnu::always_inline]] inline bool is_in_ball(const int16_t* code, int64_t d, int64_t bound) {
  simd::Int32 sums[2] = {};
  int64_t j = 0;
  for (; j + 2 * half_lanes <= d; j += 2 * half_lanes) {
    for (int64_t v = 0; v < 2; ++v) {
      simd::Int32 pairs;
      std::memcpy(&pairs, code + j + v * half_lanes, sizeof pairs);
      sums[v] = simd::add_capped_squares(sums[v], pairs);
    }
  }
  uint32_t values[half_lanes];
  std::memcpy(values, sums, sizeof sums);
  int64_t sum = 0;
  for (const uint32_t value : values) sum += int64_t(value);
  for (; j < d; ++j) sum += int64_t(int32_t(code[j]) * int32_t(code[j]));
  return sum <= bound * bound;
}

// The guarantee rests on this check alone, made on the very integers that are summed.
inline void keep_in_ball(int16_t* code, int64_t d, int64_t bound) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (is_in_ball(code, d, bound)) return;
    for (int64_t j = 0; j < d; ++j) code[j] = int16_t(code[j] - (code[j] > 0) + (code[j] < 0));
  }
  if (!is_in_ball(code, d, bound)) {
    for (int64_t j = 0; j < d; ++j) code[j] = 0;
  }
}

[[gnu::always_inline]] inline double clip_factor(double norm, const Clip& clip) {
  return clip.target / (norm > clip.radius ? norm : clip.radius);
}

constexpr int64_t clip_step = 16;  // coordinates at a time: float64 lanes of every target divide it
constexpr int64_t float64_lanes = int64_t(sizeof(simd::Float64) / sizeof(double));
constexpr int64_t clip_vectors = clip_step / float64_lanes;

// code = rint(v * factor), v of clip_step coordinates. Adding rounding_magic rounds to an integer,
// which is left in the low bits of the sum, in two's complement.
[[gnu::always_inline]] inline void round_step(const simd::Float64 (&v)[clip_vectors], double factor,
                                              int16_t* code) {
  simd::Float64 rounded[clip_vectors];
#pragma GCC unroll 8
  for (int64_t i = 0; i < clip_vectors; ++i) rounded[i] = v[i] * factor + rounding_magic;
  simd::store_low_words(code, rounded);
}

// Modulo 2^16, of int16.
[[gnu::always_inline]] inline simd::Int32 subtract_halves(const int16_t* code,
                                                          const int16_t* centre) {
  typedef uint16_t Uint16 __attribute__((vector_size(sizeof(simd::Int32))));
  Uint16 left, right;
  std::memcpy(&left, code, sizeof left);
  std::memcpy(&right, centre, sizeof right);
  return (simd::Int32)(left - right);
}

// |code - centre|^2. Both norms are at most 2^14: the sum is at most 2^30, and a difference does
// not fit 16 bits only where it is 2^15 (of the same square as -2^15), the whole of that norm.
constexpr int32_t largest_difference = 1 << 30;
inline int32_t difference_norm_squared(const int16_t* code, const int16_t* centre, int64_t d) {
  simd::Int32 sums[2] = {};
  int64_t j = 0;
  for (; j + 2 * half_lanes <= d; j += 2 * half_lanes) {
    for (int64_t v = 0; v < 2; ++v) {
      const int64_t at = j + v * half_lanes;
      const simd::Int32 difference = subtract_halves(code + at, centre + at);
      sums[v] = simd::add_pair_products(sums[v], difference, difference);
    }
  }
  int32_t sum = simd::sum(sums[0] + sums[1]);
  for (; j < d; ++j) {
    const int32_t difference = code[j] - centre[j];
    sum += int32_t(uint32_t(difference) * uint32_t(difference));
  }
  return sum;
}

// code = rint(code * factor), of clip_step coordinates.
[[gnu::always_inline]] inline void scale_step(int16_t* code, double factor) {
  simd::Float64 v[clip_vectors];
#pragma GCC unroll 8
  for (int64_t i = 0; i < clip_vectors; ++i) v[i] = simd::widen(code + i * float64_lanes);
  round_step(v, factor, code);
}

[[gnu::always_inline]] inline double residual_factor(int32_t norm_squared, const Clip& clip) {
  return clip_factor(__builtin_sqrt(double(norm_squared)), clip);
}

inline void scale_residual(const int16_t* code, const int16_t* centre, int64_t d,
                           int32_t norm_squared, double factor, int64_t bound, int16_t* residual) {
  int64_t j = 0;
  if (norm_squared < largest_difference) {
    constexpr int64_t step = half_lanes > clip_step ? half_lanes : clip_step;
    for (; j + step <= d; j += step) {
      for (int64_t t = j; t < j + step; t += half_lanes) {
        const simd::Int32 difference = subtract_halves(code + t, centre + t);
        std::memcpy(residual + t, &difference, sizeof difference);
      }
      for (int64_t t = j; t < j + step; t += clip_step) scale_step(residual + t, factor);
    }
  }
  for (; j < d; ++j) {
    const double difference = code[j] - centre[j];
    residual[j] = int16_t(int32_t(rint_small(difference * factor)));
  }
  keep_in_ball(residual, d, bound);
}

void clip_residual(const int16_t* code, const int16_t* centre, int64_t d, Clip clip,
                   int16_t* residual) {
  const int32_t norm_squared = difference_norm_squared(code, centre, d);
  const double factor = residual_factor(norm_squared, clip);
  scale_residual(code, centre, d, norm_squared, factor, clip.bound, residual);
}
