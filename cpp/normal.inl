// Standard normals as a pure function of (seed, row, coordinate): Philox4x32-10 (Salmon et al.,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011), then the transform of Box and Muller
// (1958) in float32. Every step is an integer operation, a correctly rounded conversion, sum,
// product, square root or fused multiply-add, so all targets give the same bits.
//
// Accuracy (each figure has its test): a radius is right to 1.6e-7 of itself and cosine and sine to
// 1.2e-7, so a normal to 3e-7 of its pair's radius. The 2^32 radii end at sqrt(2 ln 2^33) = 6.764;
// tail masses are right to 1e-4 at 5.5 sigma, 2e-3 at 6 and 2 % at 6.5.

typedef uint32_t Uint32 __attribute__((vector_size(sizeof(simd::Int32))));
typedef uint64_t Uint64 __attribute__((vector_size(sizeof(simd::Int32))));

// Four counter words (or four outputs) of `lanes / 2` independent blocks. Only the low half of a
// 64-bit lane counts: the high halves hold what the products left there.
struct PhiloxState {
  Uint64 word[4];
};

[[gnu::always_inline]] inline PhiloxState philox(PhiloxState counter, uint64_t seed) {
  const simd::Int32 multiplier0 = (simd::Int32)(Uint64{} + 0xD2511F53u);
  const simd::Int32 multiplier1 = (simd::Int32)(Uint64{} + 0xCD9E8D57u);
  uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
  Uint64* x = counter.word;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const Uint64 product0 = (Uint64)simd::multiply_low_halves((simd::Int32)x[0], multiplier0);
    const Uint64 product1 = (Uint64)simd::multiply_low_halves((simd::Int32)x[2], multiplier1);
    x[0] = (product1 >> 32) ^ x[1] ^ key0;
    x[1] = product1;
    x[2] = (product0 >> 32) ^ x[3] ^ key1;
    x[3] = product0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// Not Float32{} + value: that would be an addition, as it turns -0 into +0.
[[gnu::always_inline]] inline simd::Float32 broadcast(float value) {
  return value - simd::Float32{};
}

// float32(word + 1/2), correctly rounded: both halves are exact and the fused sum rounds once.
[[gnu::always_inline]] inline simd::Float32 to_float(simd::Int32 high, simd::Int32 low) {
  const simd::Float32 scale = broadcast(65536.0f);
  return simd::multiply_add(__builtin_convertvector(high, simd::Float32), scale,
                            __builtin_convertvector(low, simd::Float32) + 0.5f);
}

[[gnu::always_inline]] inline simd::Float32 unsigned_to_float(Uint32 word) {
  return to_float((simd::Int32)(word >> 16), (simd::Int32)(word & 0xFFFFu));
}

template <int count>
[[gnu::always_inline]] inline simd::Float32 polynomial(const float (&coefficients)[count],
                                                       simd::Float32 x) {
  simd::Float32 value = broadcast(coefficients[count - 1]);
#pragma GCC unroll 16
  for (int power = count - 2; power >= 0; --power) {
    value = simd::multiply_add(value, x, broadcast(coefficients[power]));
  }
  return value;
}

// sqrt(-2 ln u), u = (word + 1/2) / 2^32
[[gnu::always_inline]] inline simd::Float32 normal_radius(Uint32 word) {
  // -2 ln(1 + f) = f (-2 + f P(f)), relative error 5e-9 for sqrt(1/2) - 1 <= f <= sqrt(2) - 1
  constexpr float p[] = {0x1.fffff8p-1f,  -0x1.555550p-1f, 0x1.000428p-1f,
                         -0x1.99a402p-2f, 0x1.54274ap-2f,  -0x1.22709cp-2f,
                         0x1.0f375cp-2f,  -0x1.084e00p-2f, 0x1.383d96p-3f};
  constexpr int32_t sqrt_half = 0x3F3504F3;  // bits of float32(sqrt(1/2))
  const simd::Int32 bits = (simd::Int32)unsigned_to_float(word);
  const simd::Int32 exponent = (bits - sqrt_half) >> 23;  // word + 1/2 = 2^exponent * mantissa
  const simd::Float32 mantissa = (simd::Float32)(bits - (exponent << 23));
  // For u near 1 the mantissa has lost the low bits of 1 - u; the complement still has them.
  const simd::Float32 complement = unsigned_to_float(~word) * -0x1p-32f;
  const simd::Float32 f = exponent == 32 ? complement : mantissa - 1.0f;
  const simd::Float32 slope = simd::multiply_add(polynomial(p, f), f, broadcast(-2.0f));
  const simd::Float32 minus_2_ln_2 = broadcast(-0x1.62e430p+0f);
  const simd::Float32 power = __builtin_convertvector(exponent - 32, simd::Float32);
  return simd::square_root(simd::multiply_add(power, minus_2_ln_2, f * slope));
}

// cos and sin of 2 pi (word + 1/2) / 2^32
[[gnu::always_inline]] inline void unit_circle(Uint32 word, simd::Float32& cosine,
                                               simd::Float32& sine) {
  // With y in [-1, 1]: sin(pi/4 y) = y P(y^2), cos(pi/4 y) = 1 + y^2 Q(y^2); errors below 3e-9.
  constexpr float p[] = {0x1.921fb6p-1f, -0x1.4abbbap-4f, 0x1.465ec6p-9f, -0x1.2d9bb8p-15f};
  constexpr float q[] = {-0x1.3bd3ccp-2f, 0x1.03c1dep-6f, -0x1.55c664p-12f, 0x1.d9f7bap-19f};
  const simd::Int32 quadrant = (simd::Int32)(word + 0x20000000u) >> 30;
  const simd::Int32 rest = (simd::Int32)(word - ((Uint32)quadrant << 30));
  const simd::Float32 y = to_float(rest >> 16, rest & 0xFFFF) * 0x1p-29f;
  const simd::Float32 square = y * y;
  const simd::Float32 s = y * polynomial(p, square);
  const simd::Float32 c = simd::multiply_add(polynomial(q, square), square, broadcast(1.0f));
  const simd::Int32 odd = (quadrant & 1) != 0;
  const simd::Int32 cosine_sign = (simd::Int32)((((Uint32)quadrant + 1u) & 2u) << 30);
  const simd::Int32 sine_sign = (simd::Int32)(((Uint32)quadrant & 2u) << 30);
  cosine = (simd::Float32)((simd::Int32)(odd ? s : c) ^ cosine_sign);
  sine = (simd::Float32)((simd::Int32)(odd ? c : s) ^ sine_sign);
}

// The row numbers of `lanes` rows, in the layout of PhiloxState: even lanes, then odd lanes.
struct RowCounters {
  Uint64 row[2];
};

// normals[c] = z_(4 * block + c) of `lanes` rows: words 0 and 1 of the counter's block give the
// radius and the angle of c = 0 (cosine) and 1 (sine), words 2 and 3 those of c = 2 and 3.
[[gnu::always_inline]] inline void normal_block(const RowCounters& rows, int64_t block,
                                                uint64_t seed, simd::Float32 (&normals)[4]) {
  PhiloxState state[2];
  for (int half = 0; half < 2; ++half) {
    const Uint64 row = rows.row[half];
    state[half] = philox({{row, row >> 32, Uint64{} + uint64_t(block), Uint64{}}}, seed);
  }
  Uint32 word[4];
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    word[c] = (Uint32)((state[0].word[c] & UINT32_MAX) | (state[1].word[c] << 32));
  }
#pragma GCC unroll 2
  for (int c = 0; c < 4; c += 2) {
    const simd::Float32 radius = normal_radius(word[c]);
    simd::Float32 cosine, sine;
    unit_circle(word[c + 1], cosine, sine);
    normals[c] = radius * cosine;
    normals[c + 1] = radius * sine;
  }
}
