// The nearest centre of each row: a screen leaves candidates, distances in float32 decide.

constexpr int64_t distance_lanes = 32;

// |x - c|^2 in 32 lanes (lane l takes coordinates l, l + 32, ...), each a chain of fused
// multiply-adds of the rounded differences, folded by halves: 16, 8, 4, 2, 1. x is padded with
// zeros to whole groups of lanes.
[[gnu::always_inline]] inline float nearest_distance(const float* x, const float* centre,
                                                     int64_t d) {
  constexpr int64_t vectors = distance_lanes / lanes;
  simd::Float32 sums[vectors] = {};
  auto add_group = [&](const float* group, const float* other) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < vectors; ++v) {
      const simd::Float32 difference =
          load<simd::Float32>(group + v * lanes) - load<simd::Float32>(other + v * lanes);
      sums[v] = simd::multiply_add(difference, difference, sums[v]);
    }
  };
  const int64_t whole = d / distance_lanes * distance_lanes;
  for (int64_t t = 0; t < whole; t += distance_lanes) add_group(x + t, centre + t);
  if (whole < d) {
    float rest[distance_lanes] = {};
    for (int64_t t = whole; t < d; ++t) rest[t - whole] = centre[t];
    add_group(x + whole, rest);
  }
  float values[distance_lanes];
  std::memcpy(values, sums, sizeof values);
#pragma GCC unroll 8
  for (int64_t half = distance_lanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) values[lane] += values[lane + half];
  }
  return values[0];
}

// x = row - shift, zeros up to padded_d.
[[gnu::always_inline]] inline void load_shifted(const NearestTask& task, int64_t row, float* x,
                                                int64_t padded_d) {
  const float* source = task.rows + row * task.d;
  for (int64_t t = 0; t < task.d; ++t) x[t] = source[t] - task.shift[t];
  for (int64_t t = task.d; t < padded_d; ++t) x[t] = 0;
}

inline int64_t padded_floats(int64_t d) {
  return (d + code_alignment - 1) / code_alignment * code_alignment;
}

void encode_nearest_rows(const NearestTask& task, int64_t begin, int64_t end,
                         const ScreenedRows& out) {
  const int64_t stride = padded_codes(task.d);
  const Scratch<float> x(padded_floats(task.d));
  for (int64_t i = begin; i < end; ++i) {
    load_shifted(task, i, x.data, padded_floats(task.d));
    const Coded coded =
        encode_bytes(x.data, padded_floats(task.d), out.codes + (i - begin) * stride);
    out.scales[i - begin] = coded.scale;
    out.norms[i - begin] = coded.norm;
    out.errors[i - begin] = coded.error;
  }
}

// packed[p][t][lane] = coordinate t of active row p * panel + lane, less the shift; and the norms.
inline void pack_rows(const NearestTask& task, int64_t begin, const int32_t* active, int64_t count,
                      float* packed, float* norms) {
  const int64_t whole = task.d / lanes * lanes;
  for (int64_t first = 0; first < count; first += lanes) {
    const float* row[lanes];
    for (int64_t lane = 0; lane < lanes; ++lane) {  // past the end: a row again, never looked at
      const int64_t i = first + lane < count ? first + lane : count - 1;
      row[lane] = task.rows + (begin + active[i]) * task.d;
    }
    float* target = packed + first / panel * panel * task.d + first % panel;
    simd::Float32 squares = {};
    for (int64_t t = 0; t < whole; t += lanes) {
      const simd::Float32 shift = load<simd::Float32>(task.shift + t);
      simd::Float32 vectors[lanes];
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i) vectors[i] = load<simd::Float32>(row[i] + t) - shift;
      transpose(vectors);
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i) {
        store(target + (t + i) * panel, vectors[i]);
        squares = simd::multiply_add(vectors[i], vectors[i], squares);
      }
    }
    for (int64_t t = whole; t < task.d; ++t) {
      simd::Float32 column;
      for (int64_t lane = 0; lane < lanes; ++lane) column[lane] = row[lane][t] - task.shift[t];
      store(target + t * panel, column);
      squares = simd::multiply_add(column, column, squares);
    }
    for (int64_t lane = 0; lane < lanes; ++lane) {
      norms[first + lane] = __builtin_sqrtf(squares[lane]) * (1 + float(task.d + 8) * half_ulp);
    }
  }
}

// The rows of a tile that have not found their centre yet, and how far they are.
struct Tile {
  const NearestTask& task;
  const ScreenedCentres& centres;
  ScreenedRows rows;  // codes is null where float32 screens
  int64_t begin;
  int64_t padded_d;
  NearestScratch& scratch;

  // Decides among the candidates found so far. Where more may come, distances are kept.
  void settle(int64_t active_count, bool is_last) {
    Candidates& found = scratch.found;
    int32_t* starts = scratch.pair_starts;
    for (int64_t i = 0; i <= active_count; ++i) starts[i] = 0;
    for_each_candidate([&](int64_t i, int32_t) { ++starts[i + 1]; });
    for (int64_t i = 0; i < active_count; ++i) starts[i + 1] += starts[i];
    // Records of one row come in the order of centres: so do its candidates.
    for_each_candidate(
        [&](int64_t i, int32_t centre) { scratch.pair_centres[starts[i]++] = centre; });
    int64_t pair = 0;
    for (int64_t i = 0; i < active_count; ++i) {
      const int64_t stop = starts[i];
      const bool is_whole = is_last && scratch.nearest[i] < 0;
      int64_t count = stop - pair;
      if (is_whole && count > 1 && rows.codes) count = refine_row(i, pair, count);
      if (is_whole && count == 1) {
        scratch.nearest[i] = scratch.pair_centres[pair];
      } else if (count > 0) {
        measure(i, pair, pair + count);
      }
      pair = stop;
    }
    found.count = 0;
  }

  // Forgets what later scores have put out of reach; measures the rest if that is not enough.
  void make_room(int64_t active_count) {
    Candidates& found = scratch.found;
    int64_t kept = 0;
    for (int64_t r = 0; r < found.count; ++r) {
      store(found.lower + kept * lanes, load<simd::Float32>(found.lower + r * lanes));
      found.centre[kept] = found.centre[r];
      found.vector[kept] = found.vector[r];
      kept += candidate_bits(r) != 0;
    }
    found.count = kept;
    if (kept > found.capacity / 2) settle(active_count, false);
  }

  uint32_t candidate_bits(int64_t record) const {
    const int64_t place = scratch.found.vector[record] * lanes;
    const simd::Float32 limit = load<simd::Float32>(scratch.bounds.reaches + place) +
                                load<simd::Float32>(scratch.bounds.grounds + place);
    return simd::less_equal_bits(load<simd::Float32>(scratch.found.lower + record * lanes), limit);
  }

  template <class Body>
  void for_each_candidate(Body&& body) const {
    const Candidates& found = scratch.found;
    for (int64_t r = 0; r < found.count; ++r) {
      const int64_t place = found.vector[r] * lanes;
      uint32_t bits = candidate_bits(r);
      for (; bits; bits &= bits - 1) body(place + __builtin_ctz(bits), found.centre[r]);
    }
  }

  int64_t refine_row(int64_t i, int64_t pair, int64_t count) {
    const int64_t row = scratch.active[i];
    const RowCodes codes{rows.codes + row * padded_codes(task.d), rows.scales[row], rows.norms[row],
                         rows.errors[row], scratch.bounds.grounds[i]};
    return refine(centres, codes, task.d, scratch.pair_centres + pair, count,
                  scratch.scores + pair);
  }

  void measure(int64_t i, int64_t pair, int64_t stop) {
    load_shifted(task, begin + scratch.active[i], scratch.x, padded_d);
    scratch.measured += stop - pair;
    for (; pair < stop; ++pair) {
      const int32_t centre = scratch.pair_centres[pair];
      const float distance = nearest_distance(scratch.x, task.centres + centre * task.d, task.d);
      if (distance < scratch.distances[i]) {
        scratch.distances[i] = distance;
        scratch.nearest[i] = centre;
      }
    }
  }
};

template <class Kind>
inline void screen_active(Tile& tile, const ScreenedCentres& centres, int64_t count,
                          Upcoming upcoming) {
  NearestScratch& scratch = tile.scratch;
  const int64_t panels = (count + panel - 1) / panel;
  for (int64_t i = count; i < panels * panel; ++i) {  // no score reaches these
    scratch.bounds.scales[i] = scratch.bounds.slopes[i] = scratch.bounds.grounds[i] = 0;
    scratch.bounds.reaches[i] = -__builtin_inff();
  }
  for (int64_t i = 0; i < count; ++i) {
    scratch.nearest[i] = -1;
    scratch.distances[i] = __builtin_inff();
  }
  scratch.found.count = 0;
  screen_tile<Kind>(centres, scratch.packed, panels, scratch.bounds, scratch.found, upcoming,
                    [&] { tile.make_room(count); });
  tile.settle(count, true);
}

void nearest_rows(const NearestTask& task, const ScreenedCentres& centres, int64_t begin,
                  int64_t end, NearestScratch& scratch, int32_t* labels) {
  const int64_t count = end - begin;
  Tile tile{task, centres, {}, begin, padded_floats(task.d), scratch};
  for (int64_t i = 0; i < count; ++i) scratch.active[i] = int32_t(i);
  if (centres.products == Products::int8) {
    const int64_t stride = padded_codes(task.d);
    ScreenedRows rows = scratch.rows;
    if (task.screened.codes) {
      rows = {task.screened.codes + begin * stride, task.screened.scales + begin,
              task.screened.norms + begin, task.screened.errors + begin};
    } else {
      encode_nearest_rows(task, begin, end, rows);
    }
    for (int64_t i = 0; i < count; ++i) {
      scratch.bounds.scales[i] = rows.scales[i];
      scratch.bounds.slopes[i] = screen_slope(centres, rows.norms[i], rows.errors[i]);
      scratch.bounds.grounds[i] = screen_ground(centres, task.d, rows.norms[i]);
      scratch.bounds.reaches[i] = __builtin_inff();
    }
    tile.rows = rows;
    pack_codes(rows.codes, stride, scratch.active, count, centres.steps, scratch.packed);
    // The next tile, which is read after this one: harmless where rows have ended.
    Upcoming upcoming{(const char*)(task.rows + end * task.d), nullptr};
    upcoming.end = upcoming.at + count * task.d * int64_t(sizeof(float));
    if (task.screened.codes) {
      upcoming.at = (const char*)(rows.codes + count * stride);
      upcoming.end = upcoming.at + count * stride;
    }
    screen_active<Int8Products>(tile, centres, count, upcoming);
  } else {
    pack_rows(task, begin, scratch.active, count, (float*)scratch.packed, scratch.rows.norms);
    for (int64_t i = 0; i < count; ++i) {
      const float norm = scratch.rows.norms[i];
      scratch.bounds.scales[i] = 1;
      // A chain of d fused multiply-adds is right to d half_ulp |x| |c|.
      scratch.bounds.slopes[i] = screen_slope(centres, norm, float(task.d) * half_ulp * norm);
      scratch.bounds.grounds[i] = screen_ground(centres, task.d, norm);
      scratch.bounds.reaches[i] = __builtin_inff();
    }
    Upcoming upcoming{(const char*)(task.rows + end * task.d), nullptr};
    upcoming.end = upcoming.at + count * task.d * int64_t(sizeof(float));
    screen_active<Float32Products>(tile, centres, count, upcoming);
  }
  for (int64_t i = 0; i < count; ++i) labels[scratch.active[i]] = scratch.nearest[i];
}
