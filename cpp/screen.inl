// The screen: approximate products of rows and centres with a rigorous bound on their error, which
// leaves a few candidates for the nearest centre of each row. Any bound that holds gives the same
// labels; a tighter one leaves fewer candidates.
//
// Let score_j = |c_j|^2 / 2 - <x, c_j>, which differs from |x - c_j|^2 / 2 by |x|^2 / 2 alone. With
// x' and c' the vectors that the codes stand for, Cauchy and Schwarz give
//   |<x, c> - <x', c'>| <= |x - x'| |c| + |x'| |c - c'| <= slope |c|,
//   slope = |x - x'| + (|x| + |x - x'|) max_j |c_j - c'_j| / |c_j|.
// `slope` also takes up the roundings of the arithmetic here, and `ground` those of the distances
// that decide among the candidates: for the nearest j by these distances and the nearest b in
// truth, |x - c_j|^2 <= |x - c_b|^2 (1 + 2 rounding), and |x - c_b| <= |x| + |c_b|.

constexpr float half_ulp = 0x1p-24f;

// Relative error, at most, of a sum of d non-negative float32 in `lanes` lanes and a few more
// steps.
inline float sum_error(int64_t d) { return float(d / lanes + 24) * half_ulp; }

[[gnu::always_inline]] inline simd::Float32 absolute(simd::Float32 x) {
  return (simd::Float32)((simd::Int32)x & INT32_MAX);
}

[[gnu::always_inline]] inline float largest_lane(simd::Float32 x) {
  float values[lanes];
  std::memcpy(values, &x, sizeof values);
  float largest = values[0];
  for (int64_t lane = 1; lane < lanes; ++lane)
    largest = values[lane] > largest ? values[lane] : largest;
  return largest;
}

[[gnu::always_inline]] inline float sum_lanes(simd::Float32 x) {
  float values[lanes];
  std::memcpy(values, &x, sizeof values);
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) values[lane] += values[lane + half];
  }
  return values[0];
}

struct Coded {
  float scale, norm, error;  // the latter two rounded upwards
};

// x: padded with zeros to whole vectors, at least to d. Writes d codes + 128.
inline Coded encode_bytes(const float* x, int64_t d, uint8_t* codes) {
  simd::Float32 largest = {}, squares = {};
  for (int64_t t = 0; t < d; t += lanes) {
    const simd::Float32 v = load<simd::Float32>(x + t), size = absolute(v);
    largest = size > largest ? size : largest;
    squares = simd::multiply_add(v, v, squares);
  }
  const float peak = largest_lane(largest);
  const float scale = peak > 0x1p-100f ? peak / 127 : 1.0f;
  const simd::Float32 inverse = broadcast(1 / scale), negative = broadcast(-scale);
  const simd::Float32 magic = broadcast(0x1.8p23f);  // leaves rint in the low bits of a sum
  simd::Float32 residuals = {};
  for (int64_t t = 0; t < d; t += lanes) {
    const simd::Float32 v = load<simd::Float32>(x + t);
    const simd::Float32 rounded = simd::multiply_add(v, inverse, magic);
    const simd::Float32 residual = simd::multiply_add(rounded - magic, negative, v);
    residuals = simd::multiply_add(residual, residual, residuals);
    simd::store_low_bytes(codes + t, (simd::Int32)rounded ^ 0x80);
  }
  const float safe = 1 + sum_error(d);
  return {scale, __builtin_sqrtf(sum_lanes(squares)) * safe,
          __builtin_sqrtf(sum_lanes(residuals)) * safe};
}

// The bounds of a row's scores, but for the part that grows with the norm of a centre.
inline float screen_slope(const ScreenedCentres& centres, float norm, float error) {
  const float apart = error + (norm + error) * centres.largest_error;
  return (apart + (norm + error + centres.largest_norm) * (8 * half_ulp)) * (1 + 8 * half_ulp);
}

// The distances of nearest_distance are right to (d / 32 + 9) half_ulp of themselves. The last term
// stands for squares and products that vanish.
inline float screen_ground(const ScreenedCentres& centres, int64_t d, float norm) {
  const float reach = norm + centres.largest_norm;
  return float(d / 32 + 16) * (4 * half_ulp) * reach * reach + float(d) * 0x1p-126f;
}

struct Int8Products {
  typedef simd::Int32 Vector;
  template <int64_t width>
  [[gnu::always_inline]] static inline void multiply(const uint32_t* panel_words,
                                                     const ScreenedCentres& centres, int64_t first,
                                                     Vector (&products)[width][2]) {
    const uint32_t* words = centres.blocks + first * centres.steps;
    for (int64_t b = 0; b < width; ++b) {
      products[b][0] = products[b][1] = Vector{} + centres.offsets[first + b];
    }
    for (int64_t t = 0; t < centres.steps; ++t) {
      const Vector low = load<Vector>(panel_words + t * panel);
      const Vector high = load<Vector>(panel_words + t * panel + lanes);
#pragma GCC unroll 16
      for (int64_t b = 0; b < width; ++b) {
        const Vector word = Vector{} + int32_t(words[t * width + b]);
        products[b][0] = simd::add_byte_products(products[b][0], low, word);
        products[b][1] = simd::add_byte_products(products[b][1], high, word);
      }
    }
  }
  [[gnu::always_inline]] static inline simd::Float32 value(Vector product) {
    return __builtin_convertvector(product, simd::Float32);
  }
};

struct Float32Products {
  typedef simd::Float32 Vector;
  template <int64_t width>
  [[gnu::always_inline]] static inline void multiply(const uint32_t* panel_words,
                                                     const ScreenedCentres& centres, int64_t first,
                                                     Vector (&products)[width][2]) {
    const uint32_t* words = centres.blocks + first * centres.steps;
    for (int64_t b = 0; b < width; ++b) products[b][0] = products[b][1] = Vector{};
    for (int64_t t = 0; t < centres.steps; ++t) {
      const Vector low = load<Vector>(panel_words + t * panel);
      const Vector high = load<Vector>(panel_words + t * panel + lanes);
#pragma GCC unroll 16
      for (int64_t b = 0; b < width; ++b) {
        const Vector word = (Vector)(simd::Int32{} + int32_t(words[t * width + b]));
        products[b][0] = simd::multiply_add(low, word, products[b][0]);
        products[b][1] = simd::multiply_add(high, word, products[b][1]);
      }
    }
  }
  [[gnu::always_inline]] static inline simd::Float32 value(Vector product) { return product; }
};

// Scores a block of centres against one panel. A record is written for each centre and vector of
// rows and kept where the lower bound of any row's score is within its reach, the least upper bound
// so far, and its ground.
template <class Kind, int64_t width>
inline void screen_block(const ScreenedCentres& centres, int64_t first, const uint32_t* panel_words,
                         int64_t vector, const TileBounds& bounds, Candidates& found) {
  typename Kind::Vector products[width][2];
  Kind::template multiply<width>(panel_words, centres, first, products);
  // Locals: for all the compiler knows, the stores below could change what they were read from.
  const float* scales = centres.scales + first;
  const float* half_norms = centres.half_norms + first;
  const float* norms = centres.norms + first;
  float* lower_out = found.lower + found.count * lanes;
  int32_t* centre_out = found.centre + found.count;
  int32_t* vector_out = found.vector + found.count;
  int64_t kept = 0;
#pragma GCC unroll 2
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t place = (vector + half) * lanes;
    const simd::Float32 scale = load<simd::Float32>(bounds.scales + place);
    const simd::Float32 slope = load<simd::Float32>(bounds.slopes + place);
    const simd::Float32 ground = load<simd::Float32>(bounds.grounds + place);
    simd::Float32 reach = load<simd::Float32>(bounds.reaches + place);
#pragma GCC unroll 16
    for (int64_t b = 0; b < width; ++b) {
      const simd::Float32 factor = scale * -scales[b];
      const simd::Float32 score =
          simd::multiply_add(factor, Kind::value(products[b][half]), broadcast(half_norms[b]));
      const simd::Float32 error = slope * norms[b];
      const simd::Float32 upper = score + error, lower = score - error;
      reach = upper < reach ? upper : reach;
      store(lower_out + kept * lanes, lower);
      centre_out[kept] = int32_t(first + b);
      vector_out[kept] = int32_t(vector + half);
      kept += simd::less_equal_bits(lower, reach + ground) != 0;
    }
    store(bounds.reaches + place, reach);
  }
  found.count += kept;
}

// Of `count` elements, zero past them.
template <class Vector, class Element>
inline Vector load_first(const Element* source, int64_t count) {
  Vector vector = {};
  std::memcpy(&vector, source, size_t(count) * sizeof(Element));
  return vector;
}

// Transposes the codes of the rows in `rows` (of this tile) into panels of words.
inline void pack_codes(const uint8_t* codes, int64_t row_bytes, const int32_t* rows, int64_t count,
                       int64_t steps, uint32_t* packed) {
  const int64_t vectors = (count + lanes - 1) / lanes;
  for (int64_t v = 0; v < vectors; ++v) {
    const uint8_t* source[lanes];
    for (int64_t lane = 0; lane < lanes; ++lane) {  // past the end: a row again, never looked at
      const int64_t i = v * lanes + lane;
      source[lane] = codes + rows[i < count ? i : count - 1] * row_bytes;
    }
    uint32_t* target = packed + v / 2 * panel * steps + v % 2 * lanes;
    for (int64_t t = 0; t < steps; t += lanes) {
      simd::Float32 words[lanes];
      if (t * 4 + lanes * 4 <= row_bytes) {
#pragma GCC unroll 16
        for (int64_t lane = 0; lane < lanes; ++lane) {
          words[lane] = load<simd::Float32>(source[lane] + t * 4);
        }
      } else {
        for (int64_t lane = 0; lane < lanes; ++lane) {
          words[lane] = load_first<simd::Float32>(source[lane] + t * 4, row_bytes - t * 4);
        }
      }
      transpose(words);
      const int64_t here = steps - t < lanes ? steps - t : lanes;
      for (int64_t i = 0; i < here; ++i) store(target + (t + i) * panel, words[i]);
    }
  }
}

// Memory that will be wanted soon, fetched a few lines at a time.
struct Upcoming {
  const char* at;
  const char* end;

  [[gnu::always_inline]] inline void fetch(int64_t lines) {
    for (; lines > 0 && at < end; --lines, at += 64) __builtin_prefetch(at, 0, 2);
  }
};

// Calls make_room() where `found` could overflow. On the way, fetches what comes next.
template <class Kind, int64_t width, class MakeRoom>
inline void screen_panels(const ScreenedCentres& centres, const uint32_t* packed, int64_t panels,
                          const TileBounds& bounds, Candidates& found, Upcoming upcoming,
                          Checkpoint& checkpoint, MakeRoom&& make_room) {
  const int64_t lines = (upcoming.end - upcoming.at) * width / (64 * panels * centres.count) + 1;
  // Centres that stay in a level-2 cache while all panels go past them.
  const int64_t fitting = (int64_t{192} << 10) / (4 * centres.steps * width);
  const int64_t stride = width * (fitting < 1 ? 1 : fitting);
  for (int64_t begin = 0; begin < centres.count; begin += stride) {
    const int64_t end = centres.count - begin < stride ? centres.count : begin + stride;
    for (int64_t p = 0; p < panels; ++p) {
      checkpoint.pass((end - begin) * panel * centres.steps);
      for (int64_t first = begin; first < end; first += width) {
        upcoming.fetch(lines);
        if (found.capacity - found.count < 2 * width + 1) make_room();
        screen_block<Kind, width>(centres, first, packed + p * panel * centres.steps, 2 * p, bounds,
                                  found);
      }
    }
  }
}

// The width of the blocks is fixed when the centres are prepared: every one has a loop of its own.
template <class Kind, int64_t width = simd::broadcast_block, class MakeRoom>
inline void screen_tile(const ScreenedCentres& centres, const uint32_t* packed, int64_t panels,
                        const TileBounds& bounds, Candidates& found, Upcoming upcoming,
                        Checkpoint& checkpoint, MakeRoom&& make_room) {
  if (centres.width == width) {
    screen_panels<Kind, width>(centres, packed, panels, bounds, found, upcoming, checkpoint,
                               make_room);
  } else if constexpr (width > 1) {
    screen_tile<Kind, width - 1>(centres, packed, panels, bounds, found, upcoming, checkpoint,
                                 make_room);
  }
}
