// Clip of kernels.hpp: real or integer vectors to integer vectors inside the ball.

// Memory of one call, given back also when another allocation fails.
template <class T>
struct Scratch {
  T* data;
  explicit Scratch(int64_t n) : data(new T[size_t(n)]()) {}
  ~Scratch() { delete[] data; }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

[[gnu::always_inline]] inline double rint_small(double x) {
  return (x + rounding_magic) - rounding_magic;
}

// Of any int16 codes. A pair of products is at most 2^31: it fits 32 bits, unsigned.
[[gnu::always_inline]] inline int64_t integer_norm_squared(const int16_t* code, int64_t d) {
  typedef uint64_t Sums __attribute__((vector_size(sizeof(simd::Int32))));
  constexpr int64_t step = int64_t(sizeof(simd::Int32) / sizeof(int16_t));
  Sums sums{};
  int64_t j = 0;
  for (; j + step <= d; j += step) {
    simd::Int32 pairs;
    std::memcpy(&pairs, code + j, sizeof pairs);
    const Sums squares = (Sums)simd::add_pair_products(simd::Int32{}, pairs, pairs);
    sums += (squares & UINT32_MAX) + (squares >> 32);
  }
  int64_t sum = 0;
  for (int64_t lane = 0; lane < step / 4; ++lane) sum += int64_t(sums[lane]);
  for (; j < d; ++j) sum += int64_t(int32_t(code[j]) * int32_t(code[j]));
  return sum;
}

// The guarantee rests on this check alone, made on the very integers that are summed.
inline void keep_in_ball(int16_t* code, int64_t d, int64_t bound) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (integer_norm_squared(code, d) <= bound * bound) return;
    for (int64_t j = 0; j < d; ++j) code[j] = int16_t(code[j] - (code[j] > 0) + (code[j] < 0));
  }
  if (integer_norm_squared(code, d) > bound * bound) {
    for (int64_t j = 0; j < d; ++j) code[j] = 0;
  }
}

[[gnu::always_inline]] inline double clip_factor(double norm, const Clip& clip) {
  return clip.target / (norm > clip.radius ? norm : clip.radius);
}

void clip_residual(const int16_t* code, const int16_t* centre, int64_t d, Clip clip,
                   int16_t* residual) {
  int64_t norm_squared = 0;  // both norms <= 2^14, so each difference fits 16 bits and a sign
  for (int64_t j = 0; j < d; ++j) {
    const int64_t difference = int32_t(code[j]) - int32_t(centre[j]);
    norm_squared += difference * difference;
  }
  const double factor = clip_factor(__builtin_sqrt(double(norm_squared)), clip);
  for (int64_t j = 0; j < d; ++j) {
    const double difference = double(int32_t(code[j]) - int32_t(centre[j]));
    residual[j] = int16_t(int32_t(rint_small(difference * factor)));
  }
  keep_in_ball(residual, d, clip.bound);
}
