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
