// The ChaCha20 keystream (RFC 8439, section 2.3), one block a lane.

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
