// What a candidate would do for k-means++: a screen by codes leaves the rows that may come closer
// to it than to any centre so far, and distances in float32 decide.
//
// Let x' be what the codes of a row x stand for and c' what those of a candidate c do. As
// |x - c| >= |x' - c'| - |x - x'| - |c - c'|, no row comes closer whose
//   |x' - c'|^2 / 2 = |x'|^2 / 2 + |c'|^2 / 2 - <x', c'>
// exceeds (sqrt(closest) + |x - x'| + |c - c'|)^2 / 2. The products are exact; the float32 steps
// after them err by at most 16 half_ulp (|x'|^2 + |c'|^2) / 2, for which `slack` stands.

constexpr int64_t code_vector = int64_t(sizeof(simd::Int32));
constexpr int64_t quad = 4;  // rows whose products fill the registers
constexpr int64_t quads = lanes / quad;
constexpr int64_t widest_quad = 6;  // vectors of candidates' codes against four rows

template <const Shuffle& first, const Shuffle& second>
[[gnu::always_inline]] inline simd::Int32 add_picks(simd::Int32 a, simd::Int32 b) {
  const simd::Float32 x = (simd::Float32)a, y = (simd::Float32)b;
  return (simd::Int32)pick<first>(x, y) + (simd::Int32)pick<second>(x, y);
}

// Lane i of each block of four: the sum of that block of vectors[i].
[[gnu::always_inline]] inline simd::Int32 fold_blocks(const simd::Int32 (&vectors)[quad]) {
  const simd::Int32 first = add_picks<low_words, high_words>(vectors[0], vectors[1]);
  const simd::Int32 second = add_picks<low_words, high_words>(vectors[2], vectors[3]);
  return add_picks<low_pairs, high_pairs>(first, second);
}

// Lane 4 g + i: the sum over the blocks of lane i of folded[g].
[[gnu::always_inline]] inline simd::Int32 fold_quads(const simd::Int32 (&folded)[quads]) {
  if constexpr (quads == 1) {
    return folded[0];
  } else if constexpr (quads == 2) {
    return add_picks<even_blocks, odd_blocks>(folded[0], folded[1]);
  } else {
    return add_picks<even_blocks, odd_blocks>(
        add_picks<even_blocks, odd_blocks>(folded[0], folded[1]),
        add_picks<even_blocks, odd_blocks>(folded[2], folded[3]));
  }
}

// products[b] = those of `lanes` rows with codes number b. Fetches what lies `ahead` bytes on.
template <int64_t width>
[[gnu::always_inline]] inline void row_products(const uint8_t* const (&rows)[lanes],
                                                const int8_t* codes, int64_t padded_d,
                                                int64_t ahead, simd::Int32* products) {
  simd::Int32 folded[width][quads];
#pragma GCC unroll 4
  for (int64_t g = 0; g < quads; ++g) {
    simd::Int32 sums[width][quad] = {};
    for (int64_t t = 0; t < padded_d; t += code_vector) {
      simd::Int32 x[quad];
#pragma GCC unroll 4
      for (int64_t i = 0; i < quad; ++i) {
        __builtin_prefetch(rows[g * quad + i] + t + ahead, 0, 2);
        x[i] = load<simd::Int32>(rows[g * quad + i] + t);
      }
#pragma GCC unroll 6
      for (int64_t b = 0; b < width; ++b) {
        const simd::Int32 c = load<simd::Int32>(codes + b * padded_d + t);
#pragma GCC unroll 4
        for (int64_t i = 0; i < quad; ++i)
          sums[b][i] = simd::add_byte_products(sums[b][i], x[i], c);
      }
    }
#pragma GCC unroll 6
    for (int64_t b = 0; b < width; ++b) folded[b][g] = fold_blocks(sums[b]);
  }
  for (int64_t b = 0; b < width; ++b) products[b] = fold_quads(folded[b]);
}

void encode_candidates(const ClosestTask& task) {
  const int64_t d = task.near.d, padded_d = padded_codes(d);
  const CandidateCodes& out = task.candidates;
  const Scratch<float> x(padded_d);
  for (int64_t l = 0; l < task.near.k; ++l) {
    std::memcpy(x.data, task.near.centres + l * d, size_t(d) * sizeof(float));
    for (int64_t t = d; t < padded_d; ++t) x.data[t] = 0;
    const double norm = __builtin_sqrt(exact_norm_squared(x.data, padded_d));
    const Coded coarse = encode_centre(x.data, padded_d, out.codes + l * padded_d, out.offsets + l);
    const Coded fine =
        encode_centre(x.data, padded_d, out.fine_codes + l * padded_d, out.fine_offsets + l);
    out.scales[l] = coarse.scale;
    out.fine_scales[l] = fine.scale;
    out.errors[l] = coarse.error;
    // The remainder that was encoded is itself rounded.
    out.fine_errors[l] = fine.error + 8 * half_ulp * float(norm);
    int64_t squares = 0, fine_squares = 0, products = 0;
    for (int64_t t = l * padded_d; t < (l + 1) * padded_d; ++t) {
      squares += out.codes[t] * out.codes[t];
      products += out.codes[t] * out.fine_codes[t];
      fine_squares += out.fine_codes[t] * out.fine_codes[t];
    }
    const double scale = coarse.scale, fine_scale = fine.scale;
    const double square = scale * scale * double(squares);
    const double rest = 2 * scale * double(products) + fine_scale * double(fine_squares);
    out.half_squares[l] = float(square / 2);
    out.fine_half_squares[l] = float((square + fine_scale * rest) / 2);
  }
}

void square_codes(const uint8_t* codes, int64_t d, int64_t begin, int64_t end, int32_t* out) {
  const int64_t padded_d = padded_codes(d);
  const simd::Int32 offset = simd::Int32{} + int32_t(0x80808080u);
  const simd::Int32 ones = simd::Int32{} + 0x01010101;
  for (int64_t i = begin; i < end; ++i) {
    simd::Int32 products = {}, sums = {};
    for (int64_t t = 0; t < padded_d; t += code_vector) {
      const simd::Int32 code = load<simd::Int32>(codes + i * padded_d + t);
      products = simd::add_byte_products(products, code, code ^ offset);
      sums = simd::add_byte_products(sums, code, ones);
    }
    const int32_t sum = simd::sum(sums) - 128 * int32_t(padded_d);
    out[i] = simd::sum(products) - 128 * sum;
  }
}

// Rows of a block that may come closer, and to which candidates.
struct Hopeful {
  int64_t count, pairs;
  int32_t rows[candidate_block];
  uint32_t bits[candidate_block];
};

// How far a candidate may be from what the codes of rows stand for, so that it may be closer to the
// rows than they are to any centre. Distances in float32 are right to (d / 32 + 9) half_ulp of
// themselves; the last term stands for squares that vanish.
[[gnu::always_inline]] inline simd::Float32 screen_reach(simd::Float32 closest, simd::Float32 error,
                                                         int64_t d) {
  const float safe = 1 + float(d / 32 + 32) * half_ulp;
  return simd::square_root(closest) * broadcast(safe) + error + broadcast(0x1p-60f);
}

constexpr float slack = 32 * half_ulp;

// Screens the rows first .. first + count of the block that starts at `begin`.
inline void screen_rows_together(const ClosestTask& task, int64_t begin, int64_t first,
                                 int64_t count, Hopeful& found) {
  const NearestTask& near = task.near;
  const int64_t padded_d = padded_codes(near.d);
  const uint8_t* rows[lanes];
  for (int64_t lane = 0; lane < lanes; ++lane) {  // past the end: a row again, never looked at
    rows[lane] = near.screened.codes + (first + (lane < count ? lane : 0)) * padded_d;
  }
  const CandidateCodes& candidates = task.candidates;
  simd::Int32 products[most_candidates];
  in_blocks<widest_quad>(0, near.k, [&](auto width, int64_t l) {
    row_products<decltype(width)::value>(rows, candidates.codes + l * padded_d, padded_d,
                                         l == 0 ? lanes * padded_d : 0, products + l);
  });
  const auto scale = load_some<simd::Float32>(near.screened.scales + first, count);
  const auto error = load_some<simd::Float32>(near.screened.errors + first, count);
  const auto squares = __builtin_convertvector(
      load_some<simd::Int32>(task.code_squares + first, count), simd::Float32);
  const auto closest = load_some<simd::Float32>(task.out.closest + first, count);
  const simd::Float32 half_square = scale * scale * squares * broadcast(0.5f);
  const simd::Float32 reach = screen_reach(closest, error, near.d);
  uint32_t bits[most_candidates], any = 0;
  for (int64_t l = 0; l < near.k; ++l) {
    const simd::Float32 product =
        __builtin_convertvector(products[l] + candidates.offsets[l], simd::Float32);
    const simd::Float32 sizes = half_square + broadcast(candidates.half_squares[l]);
    const simd::Float32 apart = sizes - scale * broadcast(candidates.scales[l]) * product;
    const simd::Float32 most = reach + broadcast(candidates.errors[l]);
    const simd::Float32 limit = most * most * broadcast(0.5f * (1 + 8 * half_ulp));
    bits[l] = simd::less_equal_bits(apart, simd::multiply_add(broadcast(slack), sizes, limit));
    any |= bits[l];
  }
  any &= (uint32_t{1} << count) - 1;
  for (; any; any &= any - 1) {
    const int lane = __builtin_ctz(any);
    uint32_t hopes = 0;
    for (int64_t l = 0; l < near.k; ++l) hopes |= (bits[l] >> lane & 1) << l;
    found.pairs += __builtin_popcount(hopes);
    found.rows[found.count] = int32_t(first + lane - begin);
    found.bits[found.count++] = hopes;
  }
}

// Screens again, by finer codes of the candidates.
inline void refine_hopeful(const ClosestTask& task, int64_t begin, Hopeful& found) {
  const NearestTask& near = task.near;
  const CandidateCodes& candidates = task.candidates;
  const int64_t padded_d = padded_codes(near.d);
  int64_t kept = 0;
  for (int64_t p = 0; p < found.count; ++p) {
    const int64_t i = begin + found.rows[p];
    const double scale = near.screened.scales[i];
    const double half_square = scale * scale * task.code_squares[i] / 2;
    const double reach = double(screen_reach(broadcast(task.out.closest[i]),
                                             broadcast(near.screened.errors[i]), near.d)[0]);
    uint32_t bits = found.bits[p];
    for (uint32_t rest = bits; rest; rest &= rest - 1) {
      const int64_t l = __builtin_ctz(rest);
      const uint8_t* codes = near.screened.codes + i * padded_d;
      const int32_t coarse = byte_product(codes, candidates.codes + l * padded_d, padded_d);
      const int32_t fine = byte_product(codes, candidates.fine_codes + l * padded_d, padded_d);
      const double product =
          double(candidates.scales[l]) * (coarse + candidates.offsets[l]) +
          double(candidates.fine_scales[l]) * (fine + candidates.fine_offsets[l]);
      const double sizes = half_square + candidates.fine_half_squares[l];
      const double most = reach + candidates.fine_errors[l];
      const bool is_out = sizes - scale * product > most * most * (0.5 + slack) + slack * sizes;
      bits &= ~(uint32_t(is_out) << l);
    }
    found.rows[kept] = found.rows[p];
    found.bits[kept] = bits;
    kept += bits != 0;
  }
  found.count = kept;
}

// sums[l] = sum of the least squared distances to candidate l and the centres so far.
template <int64_t width>
inline void add_potentials(const ClosestTask& task, int64_t begin, int64_t end) {
  typedef double Doubles __attribute__((vector_size(64)));
  constexpr int64_t group = 8;
  Doubles sums[width] = {};
  for (int64_t i = begin; i < end; ++i) {
    const double weight = task.near.weights ? task.near.weights[i] : 1.0;
    const double base = weight * double(task.out.closest[i]);
    const uint32_t bits = task.out.improved[i];
    if (!bits) {
      for (int64_t v = 0; v < width; ++v) sums[v] += base;
      continue;
    }
    double values[width * group];
    for (int64_t l = 0; l < width * group; ++l) values[l] = base;
    for (uint32_t rest = bits; rest; rest &= rest - 1) {
      const int64_t l = __builtin_ctz(rest);
      values[l] = weight * double(task.out.distances[i * task.out.stride + l]);
    }
    for (int64_t v = 0; v < width; ++v) sums[v] += load<Doubles>(values + v * group);
  }
  std::memcpy(task.out.potentials + begin / candidate_block * task.near.k, sums,
              size_t(task.near.k) * sizeof(double));
}

inline void measure_hopeful(const ClosestTask& task, int64_t begin, const Hopeful& found,
                            Checkpoint& checkpoint) {
  const NearestTask& near = task.near;
  const int64_t padded_d = padded_codes(near.d);
  const Scratch<float> x(padded_d);
  for (int64_t p = 0; p < found.count; ++p) {
    if (p + 1 < found.count) {
      const float* next = near.rows + (begin + found.rows[p + 1]) * near.d;
      for (int64_t t = 0; t < near.d; t += 16) __builtin_prefetch(next + t, 0, 2);
    }
    const int64_t i = begin + found.rows[p];
    checkpoint.pass(__builtin_popcount(found.bits[p]) * padded_d);
    load_shifted(near, i, x.data, padded_d);
    uint32_t improved = 0;
    for (uint32_t rest = found.bits[p]; rest; rest &= rest - 1) {
      const int64_t l = __builtin_ctz(rest);
      const float distance = nearest_distance(x.data, near.centres + l * near.d, near.d);
      if (distance < task.out.closest[i]) {
        task.out.distances[i * task.out.stride + l] = distance;
        improved |= uint32_t{1} << l;
      }
    }
    task.out.improved[i] = improved;
  }
}

inline void find_hopeful(const ClosestTask& task, int64_t begin, int64_t end, Hopeful& found) {
  found.count = found.pairs = 0;
  if (!task.near.screened.codes) {
    const uint32_t all = uint32_t((uint64_t{1} << task.near.k) - 1);
    for (; found.count < end - begin; ++found.count) {
      found.rows[found.count] = int32_t(found.count);
      found.bits[found.count] = all;
    }
    return;
  }
  for (int64_t i = begin; i < end; i += lanes) {
    screen_rows_together(task, begin, i, end - i < lanes ? end - i : lanes, found);
  }
  if (found.pairs < end - begin) refine_hopeful(task, begin, found);  // else most come closer
}

void closest_rows(const ClosestTask& task, int64_t begin, int64_t end, Checkpoint& checkpoint) {
  const Closest& out = task.out;
  for (int64_t i = begin; i < end; ++i) {
    if (out.accepted >= 0 && out.improved[i] >> out.accepted & 1) {
      out.closest[i] = out.distances[i * out.stride + out.accepted];
    }
    out.improved[i] = 0;
  }
  if (task.near.d <= distance_lanes && !task.near.screened.codes) {
    for (int64_t i = begin; i < end; i += lanes) {
      measure_narrow_rows(task, i, end - i < lanes ? end - i : lanes);
    }
  } else {
    Hopeful found;
    find_hopeful(task, begin, end, found);
    measure_hopeful(task, begin, found, checkpoint);
  }
  if (task.near.k <= 8) return add_potentials<1>(task, begin, end);
  if (task.near.k <= 16) return add_potentials<2>(task, begin, end);
  add_potentials<4>(task, begin, end);
}
