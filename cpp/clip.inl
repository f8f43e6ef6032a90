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

// |code - centre|^2 = |code|^2 + |centre|^2 - 2 <code, centre>. Both norms are at most 2^14, so the
// sums of each lane are within 2^28 and their combination within 2^30: exact in 32 bits.
inline int64_t difference_norm_squared(const int16_t* code, const int16_t* centre, int64_t d) {
  simd::Int32 sums{}, products{};
  auto add = [&](const void* left, const void* right) {
    simd::Int32 a, b;
    std::memcpy(&a, left, sizeof a);
    std::memcpy(&b, right, sizeof b);
    sums = simd::add_pair_products(simd::add_pair_products(sums, a, a), b, b);
    products = simd::add_pair_products(products, a, b);
  };
  constexpr int64_t step = int64_t(sizeof(simd::Int32) / sizeof(int16_t));
  int64_t j = 0;
  for (; j + step <= d; j += step) add(code + j, centre + j);
  int16_t rest[2][step] = {};
  std::memcpy(rest[0], code + j, size_t(d - j) * sizeof *code);
  std::memcpy(rest[1], centre + j, size_t(d - j) * sizeof *centre);
  add(rest[0], rest[1]);
  sums -= 2 * products;
  int64_t sum = 0;
  for (int64_t lane = 0; lane < step / 2; ++lane) sum += sums[lane];
  return sum;
}

// residual = rint((code - centre) * factor), clip_step coordinates.
[[gnu::always_inline]] inline void residual_step(const int16_t* code, const int16_t* centre,
                                                 double factor, int16_t* residual) {
  simd::Float64 v[clip_vectors];
#pragma GCC unroll 8
  for (int64_t i = 0; i < clip_vectors; ++i) {
    v[i] = simd::widen_difference(code + i * float64_lanes, centre + i * float64_lanes);
  }
  round_step(v, factor, residual);
}

void clip_residual(const int16_t* code, const int16_t* centre, int64_t d, Clip clip,
                   int16_t* residual) {
  const double norm = __builtin_sqrt(double(difference_norm_squared(code, centre, d)));
  const double factor = clip_factor(norm, clip);
  int64_t j = 0;
  for (; j + clip_step <= d; j += clip_step) {
    residual_step(code + j, centre + j, factor, residual + j);
  }
  if (j < d) {
    int16_t rest[3][clip_step] = {};
    std::memcpy(rest[0], code + j, size_t(d - j) * sizeof *code);
    std::memcpy(rest[1], centre + j, size_t(d - j) * sizeof *centre);
    residual_step(rest[0], rest[1], factor, rest[2]);
    std::memcpy(residual + j, rest[2], size_t(d - j) * sizeof *residual);
  }
  keep_in_ball(residual, d, clip.bound);
}
