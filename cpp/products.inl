// Register-blocked products: `block` broadcast operands against two vectors of lanes.

constexpr int64_t lanes = int64_t(sizeof(simd::Int32) / sizeof(int32_t));
constexpr int64_t panel = 2 * lanes;  // rows (or columns) that one block of accumulators covers

template <class Vector, class Element>
[[gnu::always_inline]] inline Vector load(const Element* source) {
  Vector vector;
  std::memcpy(&vector, source, sizeof vector);
  return vector;
}

template <class Vector, class Element>
[[gnu::always_inline]] inline void store(Element* target, const Vector& vector) {
  std::memcpy(target, &vector, sizeof vector);
}

// accumulators[b][v] = sum over t of the pair products of lane pairs[t * lane_stride + v * lanes
// ..] with the broadcast pair at others[b * block_stride + t * step].
template <int64_t block, int64_t vectors>
[[gnu::always_inline]] inline void pair_products(const int32_t* pairs, int64_t lane_stride,
                                                 const int32_t* others, int64_t block_stride,
                                                 int64_t step, int64_t count,
                                                 simd::Int32 (&accumulators)[block][vectors]) {
  for (int64_t b = 0; b < block; ++b) {
    for (int64_t v = 0; v < vectors; ++v) accumulators[b][v] = simd::Int32{};
  }
  for (int64_t t = 0; t < count; ++t) {
    simd::Int32 own[vectors];
    for (int64_t v = 0; v < vectors; ++v) {
      own[v] = load<simd::Int32>(pairs + t * lane_stride + v * lanes);
    }
#pragma GCC unroll 16
    for (int64_t b = 0; b < block; ++b) {
      const simd::Int32 other = simd::Int32{} + others[b * block_stride + t * step];
#pragma GCC unroll 2
      for (int64_t v = 0; v < vectors; ++v) {
        accumulators[b][v] = simd::add_pair_products(accumulators[b][v], own[v], other);
      }
    }
  }
}

template <int64_t count>
struct Width {
  static constexpr int64_t value = count;
};

// Calls body(width, first) to cover [begin, total) by blocks: full ones, then halves for the rest.
template <int64_t block, class Body>
[[gnu::always_inline]] inline void in_blocks(int64_t begin, int64_t total, Body&& body) {
  for (; begin + block <= total; begin += block) body(Width<block>{}, begin);
  if constexpr (block > 1) {
    if (begin < total) in_blocks<(block + 1) / 2>(begin, total, body);
  }
}

// Which lanes of two vectors, one after the other, make up a third.
struct Shuffle {
  int32_t from[lanes];
};

// Interleaves units of `unit` lanes from one half of each block of four lanes of both vectors.
constexpr Shuffle interleave(int64_t unit, int64_t half) {
  Shuffle shuffle{};
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const int64_t block = lane / 4 * 4, place = lane % 4;
    const int64_t source = place / (2 * unit) * unit + place % unit + 2 * half;
    shuffle.from[lane] = int32_t(block + source + place / unit % 2 * lanes);
  }
  return shuffle;
}

// The blocks of four lanes with an even (or odd) number, of one vector and then of the other.
constexpr Shuffle every_other_block(int64_t first) {
  Shuffle shuffle{};
  for (int64_t lane = 0; lane < lanes; ++lane) {
    shuffle.from[lane] = int32_t((lane / 4 * 2 + first) * 4 + lane % 4);
  }
  return shuffle;
}

constexpr Shuffle low_words = interleave(1, 0), high_words = interleave(1, 1);
constexpr Shuffle low_pairs = interleave(2, 0), high_pairs = interleave(2, 1);
constexpr Shuffle even_blocks = every_other_block(0), odd_blocks = every_other_block(1);

template <const Shuffle& shuffle>
[[gnu::always_inline]] inline simd::Float32 pick(simd::Float32 a, simd::Float32 b) {
  return __builtin_shuffle(a, b, load<simd::Int32>(shuffle.from));
}

// Rows become lanes. First within blocks of four rows and four lanes; then whole blocks change
// places, which processors do for any vector in one step, unlike shuffles of lanes at will.
[[gnu::always_inline]] inline void transpose(simd::Float32 (&rows)[lanes]) {
#pragma GCC unroll 4
  for (int64_t i = 0; i < lanes; i += 4) {
    const simd::Float32 low0 = pick<low_words>(rows[i], rows[i + 1]);
    const simd::Float32 high0 = pick<high_words>(rows[i], rows[i + 1]);
    const simd::Float32 low1 = pick<low_words>(rows[i + 2], rows[i + 3]);
    const simd::Float32 high1 = pick<high_words>(rows[i + 2], rows[i + 3]);
    rows[i] = pick<low_pairs>(low0, low1);
    rows[i + 1] = pick<high_pairs>(low0, low1);
    rows[i + 2] = pick<low_pairs>(high0, high1);
    rows[i + 3] = pick<high_pairs>(high0, high1);
  }
  // rows[4 g + c] now holds, in its block b, column 4 b + c of the rows 4 g .. 4 g + 3.
  if constexpr (lanes == 8) {
#pragma GCC unroll 4
    for (int64_t c = 0; c < 4; ++c) {
      const simd::Float32 first = rows[c], second = rows[4 + c];
      rows[c] = pick<even_blocks>(first, second);
      rows[4 + c] = pick<odd_blocks>(first, second);
    }
  } else if constexpr (lanes == 16) {
#pragma GCC unroll 4
    for (int64_t c = 0; c < 4; ++c) {
      const simd::Float32 even0 = pick<even_blocks>(rows[c], rows[4 + c]);
      const simd::Float32 odd0 = pick<odd_blocks>(rows[c], rows[4 + c]);
      const simd::Float32 even1 = pick<even_blocks>(rows[8 + c], rows[12 + c]);
      const simd::Float32 odd1 = pick<odd_blocks>(rows[8 + c], rows[12 + c]);
      rows[c] = pick<even_blocks>(even0, even1);
      rows[4 + c] = pick<even_blocks>(odd0, odd1);
      rows[8 + c] = pick<odd_blocks>(even0, even1);
      rows[12 + c] = pick<odd_blocks>(odd0, odd1);
    }
  }
}
