// The ChaCha20 keystream (RFC 8439, section 2.3), one block a lane, and the first look at attempts.

typedef uint32_t Words __attribute__((vector_size(sizeof(simd::Int32))));
constexpr int64_t keystream_lanes = sizeof(Words) / sizeof(uint32_t);

template <int bits>
[[gnu::always_inline]] inline Words rotate_left(Words x) {
  return (x << bits) | (x >> (32 - bits));
}

[[gnu::always_inline]] inline void quarter_round(Words& a, Words& b, Words& c, Words& d) {
  a += b, d = rotate_left<16>(d ^ a);
  c += d, b = rotate_left<12>(b ^ c);
  a += b, d = rotate_left<8>(d ^ a);
  c += d, b = rotate_left<7>(b ^ c);
}

void chacha20(const uint32_t* key, uint32_t counter, const uint32_t* nonce, int64_t blocks,
              uint32_t* out) {
  const Words zero{};
  Words start[16] = {zero + 0x61707865u, zero + 0x3320646eu, zero + 0x79622d32u,
                     zero + 0x6b206574u};
  for (int i = 0; i < 8; ++i) start[4 + i] = zero + key[i];
  for (int lane = 0; lane < keystream_lanes; ++lane) start[12][lane] = counter + uint32_t(lane);
  for (int i = 0; i < 3; ++i) start[13 + i] = zero + nonce[i];

  for (int64_t first = 0; first < blocks; first += keystream_lanes) {
    Words s[16];
    for (int i = 0; i < 16; ++i) s[i] = start[i];
    for (int double_round = 0; double_round < 10; ++double_round) {
      quarter_round(s[0], s[4], s[8], s[12]);
      quarter_round(s[1], s[5], s[9], s[13]);
      quarter_round(s[2], s[6], s[10], s[14]);
      quarter_round(s[3], s[7], s[11], s[15]);
      quarter_round(s[0], s[5], s[10], s[15]);
      quarter_round(s[1], s[6], s[11], s[12]);
      quarter_round(s[2], s[7], s[8], s[13]);
      quarter_round(s[3], s[4], s[9], s[14]);
    }
    for (int i = 0; i < 16; ++i) s[i] += start[i];
    const int64_t lanes = blocks - first < keystream_lanes ? blocks - first : keystream_lanes;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < 16; ++i) out[(first + lane) * 16 + i] = s[i][lane];
    }
    start[12] += uint32_t(keystream_lanes);
  }
}

// exp(-x^2 / 2) for x = position / 2^16 < 4, within 2^-18, of which 0.29 is used.
// With s = x^2 / 16 in [0, 1) this is exp(-s)^8, and exp(-s) the Taylor series about 1/2.
[[gnu::always_inline]] inline simd::Float32 density(simd::Int32 position) {
  constexpr float e = 0x1.368b30p-1f;  // exp(-1/2)
  constexpr float taylor[] = {e, -e, e / 2, -e / 6, e / 24, -e / 120, e / 720, -e / 5040};
  const simd::Float32 x = __builtin_convertvector(position, simd::Float32) * 0x1p-16f;
  const simd::Float32 u = x * x * 0x1p-4f - 0.5f;
  simd::Float32 value = broadcast(taylor[7]);
#pragma GCC unroll 7
  for (int power = 6; power >= 0; --power) value = value * u + taylor[power];
  value *= value;
  value *= value;
  return value * value;
}

// A word is accepted or rejected here only if its whole cell lies surely on that side. Over a cell
// the curve falls by less than 0.61 * 2^-16, and the computed value is right to 2^-18: together
// less than the margin. tests/test_noise.py holds the verdicts against the curve at every position.
void judge_attempts(const uint32_t* words, int64_t count, uint8_t* verdicts) {
  constexpr float margin = 0x1p-16f;
  constexpr int32_t corner = 0x7FE30000;  // 3 <= x < 4 and y >= 1 - 2^-10
  for (int64_t i = 0; i < count; i += lanes) {
    const simd::Int32 word = load<simd::Int32>(words + i);
    const simd::Float32 value = density(word & 0x3FFFF);
    const simd::Float32 y =
        __builtin_convertvector((word >> 18) & 0x1FFF, simd::Float32) * 0x1p-13f;
    const simd::Int32 in_corner = (word & corner) == corner;
    const simd::Int32 below = (y + (0x1p-13f + margin) <= value) & ~in_corner;
    const simd::Int32 above = (y - margin >= value) & ~in_corner;
    const simd::Int32 verdict =
        int32_t{attempt_open} + below + 2 * above;  // comparisons give 0 or -1
    for (int64_t lane = 0; lane < lanes; ++lane) verdicts[i + lane] = uint8_t(verdict[lane]);
  }
}
