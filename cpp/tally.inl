// Which cell a row falls in, exactly, and the sums over each cell.

// Few centres: rows are read where they lie.

// Halves the number of vectors whose lanes are to be summed: of each block of four lanes, or of
// whole blocks, what is left of `first` and of `second` shares a vector.
template <const Shuffle& low, const Shuffle& high>
[[gnu::always_inline]] inline simd::Float32 fold(simd::Float32 first, simd::Float32 second) {
  return (simd::Float32)((simd::Int32)pick<low>(first, second) +
                         (simd::Int32)pick<high>(first, second));
}

// Lane i: the sum of the lanes of vectors[i].
[[gnu::always_inline]] inline simd::Int32 sums_of_lanes(simd::Float32 (&vectors)[lanes]) {
#pragma GCC unroll 4
  for (int64_t i = 0; i < lanes; i += 4) {
    const auto first = fold<low_words, high_words>(vectors[i], vectors[i + 1]);
    const auto second = fold<low_words, high_words>(vectors[i + 2], vectors[i + 3]);
    vectors[i / 4] = fold<low_pairs, high_pairs>(first, second);
  }
#pragma GCC unroll 2
  for (int64_t count = lanes / 4; count > 1; count /= 2) {
#pragma GCC unroll 2
    for (int64_t i = 0; i < count; i += 2) {
      vectors[i / 2] = fold<even_blocks, odd_blocks>(vectors[i], vectors[i + 1]);
    }
  }
  return (simd::Int32)vectors[0];
}

struct BestCell {
  int32_t score, cell;
};

template <int64_t block>
inline void score_pair(const CellTask& task, int64_t first, const int16_t* const (&rows)[2],
                       BestCell* const (&best)[2]) {
  const int64_t d = task.d, vectors = (d + half_lanes - 1) / half_lanes;
  const int16_t* centres = task.centre_vectors + first * vectors * half_lanes;
  simd::Int32 products[block][2] = {};
  for (int64_t v = 0; v < vectors; ++v) {
    // The last vector ends with the row; in those of the centres, what came before is zero.
    const int64_t at = (v + 1) * half_lanes <= d ? v * half_lanes : d - half_lanes;
    const simd::Int32 x0 = load<simd::Int32>(rows[0] + at), x1 = load<simd::Int32>(rows[1] + at);
#pragma GCC unroll 8
    for (int64_t b = 0; b < block; ++b) {
      const simd::Int32 centre = load<simd::Int32>(centres + (b * vectors + v) * half_lanes);
      products[b][0] = simd::add_pair_products(products[b][0], x0, centre);
      products[b][1] = simd::add_pair_products(products[b][1], x1, centre);
    }
  }
  simd::Float32 all[lanes] = {};
  std::memcpy(all, products, sizeof products);
  const simd::Int32 sums = sums_of_lanes(all);
  int32_t values[lanes];
  store(values, sums);
  for (int64_t b = 0; b < block; ++b) {
    for (int64_t r = 0; r < 2; ++r) {
      const int32_t score = task.centre_norms[first + b] - 2 * values[2 * b + r];
      if (score < best[r]->score) *best[r] = {score, int32_t(first + b)};
    }
  }
}

inline void score_few_cells(const CellTask& task, int64_t begin, int64_t end, int32_t* labels) {
  const int64_t count = end - begin;
  const int16_t* codes = task.codes + begin * task.d;
  BestCell best[cell_tile_rows];
  for (int64_t i = 0; i < count; ++i) best[i] = {INT32_MAX, 0};
  constexpr int64_t ahead = int64_t{16} << 10;  // bytes; farther, memory would be no sooner there
  const int64_t bytes = task.d * int64_t(sizeof *codes);
  Upcoming upcoming{(const char*)codes + ahead, (const char*)codes + ahead + count * bytes};
  in_blocks<lanes / 2>(0, task.k, [&](auto width, int64_t cell) {
    for (int64_t i = 0; i < count; i += 2) {
      upcoming.fetch(2 * bytes / 64 + 1);
      const int64_t other = i + 1 < count ? i + 1 : i;
      score_pair<width.value>(task, cell, {codes + i * task.d, codes + other * task.d},
                              {best + i, best + other});
    }
  });
  for (int64_t i = 0; i < count; ++i) labels[i] = best[i].cell;
}

struct Best {
  simd::Int32 score[2], cell[2];
};

template <int64_t block>
inline void score_block(const CellTask& task, const int32_t* packed, int64_t first, Best& best) {
  const int64_t pairs = (task.d + 1) / 2;
  simd::Int32 products[block][2];
  pair_products<block>(packed, panel, task.centre_pairs + first * pairs, pairs, 1, pairs, products);
  for (int64_t b = 0; b < block; ++b) {
    for (int half = 0; half < 2; ++half) {
      const simd::Int32 score = task.centre_norms[first + b] - 2 * products[b][half];
      // Strictly less: among equal scores the smallest cell, seen first, stays.
      const simd::Int32 closer = score < best.score[half];
      best.score[half] = closer ? score : best.score[half];
      best.cell[half] = closer ? simd::Int32{} + int32_t(first + b) : best.cell[half];
    }
  }
}

// By exact scores of all pairs. Rows past the end of a panel repeat the last one.
inline void score_cells(const CellTask& task, int64_t begin, int64_t end, CellScratch& scratch,
                        int32_t* labels) {
  const int64_t count = end - begin, pairs = (task.d + 1) / 2;
  pack_codes((const uint8_t*)(task.codes + begin * task.d), 2 * task.d, scratch.order, count, pairs,
             scratch.packed);
  const auto* packed = (const int32_t*)scratch.packed;
  Best best[cell_tile_rows / panel];
  const int64_t panels = (count + panel - 1) / panel;
  for (int64_t p = 0; p < panels; ++p) {
    for (int half = 0; half < 2; ++half) {
      best[p].score[half] = simd::Int32{} + INT32_MAX;
      best[p].cell[half] = simd::Int32{};
    }
  }
  Upcoming upcoming = next_rows(task, end, count);
  const int64_t blocks = task.k / simd::broadcast_block + 1;
  const int64_t lines = (upcoming.end - upcoming.at) / (64 * panels * blocks) + 1;
  in_blocks<simd::broadcast_block>(0, task.k, [&](auto width, int64_t cell) {
    scratch.checkpoint->pass(width.value * count * task.d);
    for (int64_t p = 0; p < panels; ++p) {
      upcoming.fetch(lines);
      score_block<width.value>(task, packed + p * pairs * panel, cell, best[p]);
    }
  });
  for (int64_t i = 0; i < count; ++i) {
    labels[i] = best[i / panel].cell[i % panel / lanes][i % lanes];
  }
}

void assign_cells(const CellTask& task, int64_t begin, int64_t end, CellScratch& scratch,
                  int32_t* labels) {
  const bool screens = screen_pays(task, scratch);
  scratch.screened += end - begin;
  if (screens) {
    screen_cells(task, begin, end, scratch, labels);
  } else if (task.centre_vectors) {
    score_few_cells(task, begin, end, labels);
  } else {
    score_cells(task, begin, end, scratch, labels);
  }
}

[[gnu::always_inline]] inline void add_code(const int16_t* code, int64_t d,
                                            int32_t* __restrict sum) {
  for (int64_t j = 0; j < d; ++j) sum[j] += code[j];
}

void add_rows(const CellTask& task, int64_t begin, int64_t end, const int32_t* labels, Clip clip,
              int64_t* counts, int32_t* sums) {
  const int64_t d = task.d, count = end - begin;
  const int16_t* codes = task.codes + begin * d;
  for (int64_t i = 0; i < count; ++i) counts[labels[i]] += 1;
  if (clip.bound == 0) {
    for (int64_t i = 0; i < count; ++i) add_code(codes + i * d, d, sums + labels[i] * d);
    return;
  }
  // Factors first: their square roots and divisions need not wait for one another then.
  double factors[cell_tile_rows];
  int32_t norms[cell_tile_rows];
  for (int64_t i = 0; i < count; ++i) {
    norms[i] = difference_norm_squared(codes + i * d, task.centres + labels[i] * d, d);
  }
  for (int64_t i = 0; i < count; ++i) factors[i] = residual_factor(norms[i], clip);
  const Scratch<int16_t> residual(d);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = labels[i] * d;
    scale_residual(codes + i * d, task.centres + first, d, norms[i], factors[i], clip.bound,
                   residual.data);
    add_code(residual.data, d, sums + first);
  }
}
