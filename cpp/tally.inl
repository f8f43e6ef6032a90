// Which cell a row falls in, exactly, and the sums over each cell.

constexpr int64_t group_rows(int64_t d) {
  const int64_t fits = (int64_t{256} << 10) / (2 * d) / panel;  // packed rows in half of L2
  return panel * (fits < 1 ? 1 : fits > 16 ? 16 : fits);
}

// packed[p][t][lane] = coordinates 2t, 2t + 1 of row p * panel + lane; zeros past the end.
inline void pack_pairs(const int16_t* codes, int64_t rows, int64_t d, int32_t* packed) {
  const int64_t pairs = (d + 1) / 2;
  for (int64_t first = 0; first < rows; first += panel, packed += pairs * panel) {
    for (int64_t lane = 0; lane < panel; ++lane) {
      if (first + lane >= rows) {
        for (int64_t t = 0; t < pairs; ++t) packed[t * panel + lane] = 0;
        continue;
      }
      const int16_t* code = codes + (first + lane) * d;
      for (int64_t t = 0; t < d / 2; ++t) {
        std::memcpy(packed + t * panel + lane, code + 2 * t, sizeof(int32_t));
      }
      if (d % 2) packed[(pairs - 1) * panel + lane] = int32_t(uint16_t(code[d - 1]));
    }
  }
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

void assign_cells(const CellTask& task, int64_t begin, int64_t end, int32_t* labels) {
  const int64_t pairs = (task.d + 1) / 2;
  const int64_t group = group_rows(task.d);
  const Scratch<int32_t> pairs_scratch(group * pairs);
  const Scratch<Best> best_scratch(group / panel);
  int32_t* packed = pairs_scratch.data;
  Best* best = best_scratch.data;
  for (int64_t first = begin; first < end; first += group) {
    const int64_t rows = end - first < group ? end - first : group;
    const int64_t panels = (rows + panel - 1) / panel;
    pack_pairs(task.codes + first * task.d, rows, task.d, packed);
    for (int64_t p = 0; p < panels; ++p) {
      for (int half = 0; half < 2; ++half) {
        best[p].score[half] = simd::Int32{} + INT32_MAX;
        best[p].cell[half] = simd::Int32{};
      }
    }
    in_blocks<simd::broadcast_block>(0, task.k, [&](auto width, int64_t cell) {
      for (int64_t p = 0; p < panels; ++p) {
        score_block<width.value>(task, packed + p * pairs * panel, cell, best[p]);
      }
    });
    for (int64_t i = 0; i < rows; ++i) {
      labels[first - begin + i] = best[i / panel].cell[i % panel / lanes][i % lanes];
    }
  }
}

void add_rows(const CellTask& task, int64_t begin, int64_t end, const int32_t* labels, Clip clip,
              int64_t* counts, int64_t* sums) {
  const Scratch<int16_t> scratch(task.d);
  int16_t* residual = scratch.data;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t cell = labels[i - begin];
    const int16_t* code = task.codes + i * task.d;
    if (clip.bound > 0) {
      clip_residual(code, task.centres + cell * task.d, task.d, clip, residual);
      code = residual;
    }
    int64_t* sum = sums + cell * task.d;
    for (int64_t j = 0; j < task.d; ++j) sum[j] += code[j];
    counts[cell] += 1;
  }
}
