// The cell of each row, screened by int8 products (screen.inl) and decided by exact scores.
//
// Both are taken relative to a public integer point m, the task's shift: with y = x - m,
//   |c - m|^2 / 2 - <y, c - m> = (|c|^2 - 2 <x, c> - |m|^2 + 2 <x, m>) / 2,
// so that the order of the centres stays, and data that lie far from the origin cost no precision.
// A bound that holds leaves every centre of least score among the candidates: which of them is the
// cell is then a matter of exact integers, and so the same whatever the screen was.

[[gnu::always_inline]] inline int32_t largest_half(simd::Int32 a) {
  uint16_t values[half_lanes];
  std::memcpy(values, &a, sizeof values);
  uint16_t largest = 0;
#pragma GCC unroll 32
  for (int64_t i = 0; i < half_lanes; ++i) largest = values[i] > largest ? values[i] : largest;
  return largest;
}

// Exact, for vectors of norm at most 2^14: so are the sums of each lane.
inline int32_t inner_product(const int16_t* a, const int16_t* b, int64_t d) {
  simd::Int32 sums[2] = {};
  int64_t t = 0;
  for (; t + 2 * half_lanes <= d; t += 2 * half_lanes) {
    for (int64_t v = 0; v < 2; ++v) {
      const int64_t at = t + v * half_lanes;
      sums[v] =
          simd::add_pair_products(sums[v], load<simd::Int32>(a + at), load<simd::Int32>(b + at));
    }
  }
  for (; t < d; t += half_lanes) {
    const int64_t count = d - t < half_lanes ? d - t : half_lanes;
    sums[0] = simd::add_pair_products(sums[0], load_first<simd::Int32>(a + t, count),
                                      load_first<simd::Int32>(b + t, count));
  }
  return simd::sum(sums[0] + sums[1]);
}

// What the codes of a row leave, in exact integers.
struct CodeSums {
  int32_t norm, crossed, squares;  // |y|^2, <y, codes>, |codes|^2
  float scale;
};

// Writes codes + 128 of y, whose norm and largest magnitude are below 2^15:
// code = (y 2^left factor + 2^14) >> 15 stands for code * scale, scale = 2^15 / (2^left factor).
inline void encode_row(const int16_t* y, int64_t padded_d, int32_t peak, uint8_t* codes,
                       CodeSums& out) {
  const int left = peak > 0 ? __builtin_clz(uint32_t(peak)) - 17 : 0;
  // The largest factor that keeps codes within 127.
  const int32_t factor = peak > 0 ? ((1 << 22) - (1 << 14) - 1) / (peak << left) : 1;
  const simd::Int32 factors = simd::Int32{} + (factor << 16 | factor);
  const uint32_t kept = (0xFFFFu >> left) << left;  // shifting lanes moves bits between halves
  const simd::Int32 mask = simd::Int32{} + int32_t(kept << 16 | kept);
  simd::Int32 crossed[2] = {}, squares[2] = {};
  for (int64_t t = 0; t < padded_d; t += 2 * half_lanes) {
    for (int64_t v = 0; v < 2; ++v) {
      const int64_t at = t + v * half_lanes;
      const simd::Int32 values = load<simd::Int32>(y + at);
      const simd::Int32 code = simd::multiply_high_rounded((values << left) & mask, factors);
      crossed[v] = simd::add_pair_products(crossed[v], values, code);
      squares[v] = simd::add_pair_products(squares[v], code, code);
      simd::store_bytes_of_halves(codes + at, code ^ 0x00800080);
    }
  }
  out.crossed = simd::sum(crossed[0] + crossed[1]);
  out.squares = simd::sum(squares[0] + squares[1]);
  out.scale = float(0x1p15 / double(int64_t{factor} << left));
}

// Of y = x - shift, with zeros up to padded_d. A coordinate of the shift is at most 2^13.
inline void encode_cell_row(const int16_t* x, const int16_t* shift, int64_t d, int64_t padded_d,
                            int16_t* y, uint8_t* codes, CodeSums& out) {
  simd::Int32 largest{}, squares[2] = {};
  auto take = [&](int64_t t, simd::Int32 difference, simd::Int32& sum) {
    largest = simd::largest_magnitude(largest, difference);
    sum = simd::add_pair_products(sum, difference, difference);
    store(y + t, difference);
  };
  int64_t t = 0;
  for (; t + 2 * half_lanes <= d; t += 2 * half_lanes) {
    take(t, subtract_halves(x + t, shift + t), squares[0]);
    take(t + half_lanes, subtract_halves(x + t + half_lanes, shift + t + half_lanes), squares[1]);
  }
  if (t < d) {
    int16_t rest[2][2 * half_lanes] = {};
    std::memcpy(rest[0], x + t, size_t(d - t) * sizeof *x);
    std::memcpy(rest[1], shift + t, size_t(d - t) * sizeof *shift);
    for (int64_t v = 0; v < 2; ++v) {
      const int64_t at = v * half_lanes;
      take(t + at, subtract_halves(rest[0] + at, rest[1] + at), squares[v]);
    }
    t += 2 * half_lanes;
  }
  for (; t < padded_d; t += half_lanes) store(y + t, simd::Int32{});
  out.norm = simd::sum(squares[0] + squares[1]);
  encode_row(y, padded_d, largest_half(largest), codes, out);
}

struct CellTile {
  const CellTask& task;
  const ScreenedCentres& centres;
  CellScratch& scratch;
  const int16_t* rows;
  int64_t count;

  void encode(int64_t panels) {
    const int64_t padded_d = padded_codes(task.d);
    const Scratch<int16_t> y(padded_d);
    TileBounds& bounds = scratch.bounds;
    CodeSums sums[cell_tile_rows];
    for (int64_t i = 0; i < count; ++i) {
      encode_cell_row(rows + i * task.d, task.shift, task.d, padded_d, y.data,
                      scratch.codes + i * padded_d, sums[i]);
    }
    // Apart from the codes, so that square roots need not wait for one another.
    for (int64_t i = 0; i < count; ++i) {
      const double norm_squared = sums[i].norm, scale = sums[i].scale;
      const double error_squared = norm_squared - 2 * scale * sums[i].crossed +
                                   scale * scale * sums[i].squares + 1e-14 * norm_squared;
      const double error = __builtin_sqrt(error_squared > 0 ? error_squared : 0);
      constexpr double safe = 1 + 4 * half_ulp;  // float32 roundings included
      bounds.scales[i] = sums[i].scale;
      bounds.slopes[i] =
          screen_slope(centres, float(__builtin_sqrt(norm_squared) * safe), float(error * safe));
      bounds.reaches[i] = __builtin_inff();
    }
    for (int64_t i = count; i < panels * panel; ++i) {  // no score reaches these
      bounds.scales[i] = bounds.slopes[i] = 0;
      bounds.reaches[i] = -__builtin_inff();
    }
    for (int64_t i = 0; i < panels * panel; ++i) {
      bounds.grounds[i] = 0;  // exact scores have no roundings to allow for
      scratch.cells[i] = -1;
    }
    pack_codes(scratch.codes, padded_d, scratch.order, count, centres.steps, scratch.packed);
  }

  uint32_t bits_within_reach(int64_t record) const {
    const Candidates& found = scratch.found;
    const float* reaches = scratch.bounds.reaches + found.vector[record] * lanes;
    return simd::less_equal_bits(load<simd::Float32>(found.lower + record * lanes),
                                 load<simd::Float32>(reaches));
  }

  void measure(int64_t i, int32_t cell) {
    const int16_t* centre = task.centres + cell * task.d;
    const int32_t score =
        task.centre_norms[cell] - 2 * inner_product(rows + i * task.d, centre, task.d);
    const int32_t best = scratch.cells[i];
    ++scratch.measured;
    if (best < 0 || score < scratch.scores[i] || (score == scratch.scores[i] && cell < best)) {
      scratch.scores[i] = score;
      scratch.cells[i] = cell;
    }
  }

  // At least the best score of the row, as the screen sees it.
  float exact_reach(int64_t i) const {
    const int64_t product = inner_product(rows + i * task.d, task.shift, task.d);
    const float reach = 0.5f * float(scratch.scores[i] + 2 * product - task.shift_norm);
    return reach + (reach < 0 ? -reach : reach) * (4 * half_ulp);
  }

  // How many candidates each row has, and which of them looks nearest.
  void count_candidates() {
    const Candidates& found = scratch.found;
    for (int64_t i = 0; i < count; ++i) {
      scratch.counts[i] = 0;
      scratch.least[i] = __builtin_inff();
    }
    for (int64_t r = 0; r < found.count; ++r) {
      const int64_t place = found.vector[r] * lanes;
      const simd::Float32 lower = load<simd::Float32>(found.lower + r * lanes);
      const simd::Float32 least = load<simd::Float32>(scratch.least + place);
      const simd::Int32 within = lower <= load<simd::Float32>(scratch.bounds.reaches + place);
      const simd::Int32 nearer = lower < least;
      store(scratch.counts + place, load<simd::Int32>(scratch.counts + place) - within);
      store(scratch.least + place, nearer ? lower : least);
      store(scratch.likeliest + place, nearer ? simd::Int32{} + found.centre[r]
                                              : load<simd::Int32>(scratch.likeliest + place));
    }
  }

  // Decides among the candidates found so far, of all that there are if these are the last.
  void settle(bool are_last) {
    Candidates& found = scratch.found;
    float* reaches = scratch.bounds.reaches;
    count_candidates();
    for (int64_t i = 0; i < count; ++i) {
      if (scratch.counts[i] == 0) continue;
      if (are_last && scratch.counts[i] == 1 && scratch.cells[i] < 0) {
        scratch.cells[i] = scratch.likeliest[i];
        reaches[i] = -__builtin_inff();
        continue;
      }
      measure(i, scratch.likeliest[i]);
      const float reach = exact_reach(i);
      reaches[i] = reach < reaches[i] ? reach : reaches[i];
    }
    for (int64_t r = 0; r < found.count; ++r) {
      scratch.checkpoint->pass(lanes * task.d);
      const int32_t cell = found.centre[r];
      for (uint32_t bits = bits_within_reach(r); bits; bits &= bits - 1) {
        const int64_t i = found.vector[r] * lanes + __builtin_ctz(bits);
        if (cell != scratch.likeliest[i]) measure(i, cell);
      }
    }
    found.count = 0;
  }

  // Forgets what later scores have put out of reach; decides if that is not enough.
  void make_room() {
    Candidates& found = scratch.found;
    int64_t kept = 0;
    for (int64_t r = 0; r < found.count; ++r) {
      const bool stays = bits_within_reach(r) != 0;
      store(found.lower + kept * lanes, load<simd::Float32>(found.lower + r * lanes));
      found.centre[kept] = found.centre[r];
      found.vector[kept] = found.vector[r];
      kept += stays;
    }
    found.count = kept;
    if (kept > found.capacity / 2) settle(false);
  }
};

// Whether screening has paid so far: an exact score costs as much as some four int8 products.
inline bool screen_pays(const CellTask& task, const CellScratch& scratch) {
  return task.screened && 5 * scratch.measured <= scratch.screened * task.k;
}

// The next tile, which is read after this one: harmless where rows have ended.
inline Upcoming next_rows(const CellTask& task, int64_t end, int64_t count) {
  const auto* at = (const char*)(task.codes + end * task.d);
  return {at, at + count * task.d * int64_t(sizeof(int16_t))};
}

inline void screen_cells(const CellTask& task, int64_t begin, int64_t end, CellScratch& scratch,
                         int32_t* labels) {
  const int64_t count = end - begin, panels = (count + panel - 1) / panel;
  CellTile tile{task, *task.screened, scratch, task.codes + begin * task.d, count};
  tile.encode(panels);
  scratch.found.count = 0;
  screen_tile<Int8Products>(*task.screened, scratch.packed, panels, scratch.bounds, scratch.found,
                            next_rows(task, end, count), *scratch.checkpoint,
                            [&] { tile.make_room(); });
  tile.settle(true);
  std::memcpy(labels, scratch.cells, size_t(count) * sizeof *labels);
}
