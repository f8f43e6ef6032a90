// Candidates for k-means++ and rows of few features: rows in lanes, since most of the lanes of
// nearest_distance would stay empty. The order of its operations, less sums with those lanes.

// The first `count` lanes; the others are zero.
template <class Vector, class Element>
[[gnu::always_inline]] inline Vector load_some(const Element* source, int64_t count) {
  if (count == lanes) return load<Vector>(source);
  Element values[lanes] = {};
  for (int64_t lane = 0; lane < count; ++lane) values[lane] = source[lane];
  return load<Vector>(values);
}

inline void measure_narrow_rows(const ClosestTask& task, int64_t first, int64_t count) {
  const NearestTask& near = task.near;
  const Closest& out = task.out;
  float packed[distance_lanes * lanes] = {};
  for (int64_t lane = 0; lane < count; ++lane) {
    const float* row = near.rows + (first + lane) * near.d;
    for (int64_t t = 0; t < near.d; ++t) packed[t * lanes + lane] = row[t] - near.shift[t];
  }
  const auto closest = load_some<simd::Float32>(out.closest + first, count);
  for (int64_t l = 0; l < near.k; ++l) {
    const float* candidate = near.centres + l * near.d;
    simd::Float32 squares[distance_lanes];
    for (int64_t t = 0; t < near.d; ++t) {
      const simd::Float32 difference =
          load<simd::Float32>(packed + t * lanes) - broadcast(candidate[t]);
      squares[t] = difference * difference;
    }
    int64_t used = near.d;
    for (int64_t half = distance_lanes / 2; half > 0; half /= 2) {
      for (int64_t t = 0; t + half < used; ++t) squares[t] += squares[t + half];
      used = used < half ? used : half;
    }
    uint32_t closer = ~simd::less_equal_bits(closest, squares[0]) & ((uint32_t{1} << count) - 1);
    if (!closer) continue;
    float values[lanes];
    store(values, squares[0]);
    for (; closer; closer &= closer - 1) {
      const int64_t lane = __builtin_ctz(closer), i = first + lane;
      out.distances[i * out.stride + l] = values[lane];
      out.improved[i] |= uint32_t{1} << l;
    }
  }
}
