// Which cell a row falls in, exactly, and the sums over each cell.

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
