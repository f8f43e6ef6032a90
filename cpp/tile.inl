// One tile of rows: which centres are left to each, and which of them is nearest.

constexpr int64_t distance_lanes = 32;
constexpr int64_t slot_size = tile_slot;
constexpr int64_t longest_fetch = 64;  // lines of one row

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

// Rows of a tile are numbered from its first; `active` lists those that go through the products, in
// the order of the lanes.
struct Tile {
  const NearestTask& task;
  const ScreenedCentres& centres;
  ScreenedRows rows;  // codes is null where float32 screens
  int64_t begin;
  int64_t padded_d;
  NearestScratch& scratch;

  RowCodes codes_of(int64_t row) const {
    return {rows.codes + row * padded_codes(task.d),
            rows.scales[row],
            rows.norms[row],
            rows.errors[row],
            screen_ground(centres, task.d, rows.norms[row]),
            screen_slope(centres, rows.norms[row], rows.errors[row])};
  }

  // The nearest of the candidates, among which it certainly is. Where codes do not tell, the row is
  // fetched and waits for its distances, with what is left of the candidates.
  void decide(int64_t row, int32_t* candidates, float* lowers, int64_t count) {
    const bool is_new = scratch.nearest[row] < 0;
    if (is_new && count > 1 && rows.codes) {
      count = refine(centres, codes_of(row), task.d, task.k, candidates, count, lowers);
    }
    if (is_new && count == 1) {
      scratch.nearest[row] = candidates[0];
    } else if (scratch.waiting_centres + count > tile_waiting) {
      measure(row, candidates, count);
    } else if (count > 0) {
      const char* start = (const char*)(task.rows + (begin + row) * task.d);
      Upcoming{start, start + task.d * int64_t(sizeof(float))}.fetch(longest_fetch);
      scratch.waiting_rows[scratch.waiting] = int32_t(row);
      std::memcpy(scratch.waiting_candidates + scratch.waiting_centres, candidates,
                  size_t(count) * sizeof(int32_t));
      scratch.waiting_centres += count;
      scratch.waiting_ends[scratch.waiting++] = int32_t(scratch.waiting_centres);
    }
  }

  void measure_waiting() {
    int64_t first = 0;
    for (int64_t w = 0; w < scratch.waiting; ++w) {
      const int64_t end = scratch.waiting_ends[w];
      measure(scratch.waiting_rows[w], scratch.waiting_candidates + first, end - first);
      first = end;
    }
    scratch.waiting = scratch.waiting_centres = 0;
  }

  // Makes the list of active row i; a negative count says that not all of it is known.
  void remember(int64_t i, const int32_t* found, const float* lowers, int64_t count) {
    const int64_t row = scratch.active[i];
    if (count < 0 || scratch.distances[row] < __builtin_inff()) {
      task.neighbours.calls[begin + row] = -1;
      return;
    }
    remember_neighbours(task.neighbours, begin + row, rows.norms[row], task.d, found, lowers, count,
                        scratch.bounds.reaches[i] + scratch.bounds.grounds[i]);
    scratch.listed += count;
  }

  // Distances settle it; earlier candidates of the row take part.
  void measure(int64_t row, const int32_t* candidates, int64_t count) {
    load_shifted(task, begin + row, scratch.x, padded_d);
    scratch.measured += count;
    scratch.checkpoint->pass(count * task.d);
    for (int64_t p = 0; p < count; ++p) {
      const int32_t centre = candidates[p];
      const float distance = nearest_distance(scratch.x, task.centres + centre * task.d, task.d);
      const float least = scratch.distances[row];
      if (distance < least || (distance == least && centre < scratch.nearest[row])) {
        scratch.distances[row] = distance;
        scratch.nearest[row] = centre;
      }
    }
  }

  // Decides among the candidates found so far. Where more may come, by distances, which are kept.
  void settle(int64_t active_count, bool is_last) {
    int32_t* counts = scratch.slot_counts;
    for (int64_t i = 0; i < active_count; ++i) counts[i] = 0;
    // Locals: for all the compiler knows, the stores below could change what they were read from.
    const Candidates found = scratch.found;
    const TileBounds bounds = scratch.bounds;
    int32_t* slot_centres = scratch.slot_centres;
    float* slot_lowers = scratch.slot_lowers;
    for (int64_t r = 0; r < found.count; ++r) {
      const float* lowers = found.lower + r * lanes;
      const int64_t first = found.vector[r] * lanes;
      const int32_t centre = found.centre[r];
      for (uint32_t bits = within_reach(bounds, first, lowers); bits; bits &= bits - 1) {
        const int64_t lane = __builtin_ctz(bits), i = first + lane;
        const int64_t place = i * slot_size + counts[i];
        slot_centres[place] = centre;
        slot_lowers[place] = lowers[lane];
        if (++counts[i] == slot_size) [[unlikely]]
          empty_slot(i, is_last);
      }
    }
    scratch.found.count = 0;
    const bool is_simple = is_last && !task.neighbours.builds;
    for (int64_t i = 0; i < active_count; ++i) {
      const int64_t row = scratch.active[i];
      if (is_simple && counts[i] == 1 && scratch.nearest[row] < 0) {  // most rows
        scratch.nearest[row] = scratch.slot_centres[i * slot_size];
      } else {
        close_slot(i, is_last);
      }
    }
  }

  // Makes room in a full slot: by a shorter list, or else by distances.
  void empty_slot(int64_t i, bool is_last) {
    if (is_last && task.neighbours.builds && rows.codes && shorten_list(i)) return;
    measure(scratch.active[i], scratch.slot_centres + i * slot_size, slot_size);
    scratch.slot_counts[i] = 0;
  }

  // Lowers the limit of the row's list so that half of its slot is free, if candidates allow it.
  bool shorten_list(int64_t i) {
    int32_t* centres_found = scratch.slot_centres + i * slot_size;
    float* lowers = scratch.slot_lowers + i * slot_size;
    float sorted[slot_size];
    for (int64_t p = 0; p < slot_size; ++p) {
      int64_t place = p;
      for (; place > 0 && sorted[place - 1] > lowers[p]; --place) sorted[place] = sorted[place - 1];
      sorted[place] = lowers[p];
    }
    const float limit = sorted[slot_size / 2], reach = scratch.bounds.reaches[i];
    // Rounded so that reach + ground is no more than the limit.
    const float sizes = (limit > 0 ? limit : -limit) + (reach > 0 ? reach : -reach);
    const float ground = limit - reach - 4 * half_ulp * sizes;
    if (!(ground > scratch.grounds[i])) return false;
    scratch.bounds.grounds[i] = ground;
    int32_t kept = 0;
    for (int64_t p = 0; p < slot_size; ++p) {
      centres_found[kept] = centres_found[p];
      lowers[kept] = lowers[p];
      kept += lowers[p] <= reach + ground;
    }
    scratch.slot_counts[i] = kept;
    scratch.listed += slot_size / 2;
    return true;
  }

  void close_slot(int64_t i, bool is_last) {
    const int64_t row = scratch.active[i], total = scratch.slot_counts[i];
    int32_t* candidates = scratch.slot_centres + i * slot_size;
    float* lowers = scratch.slot_lowers + i * slot_size;
    int64_t count = total;
    if (task.neighbours.builds && rows.codes) {
      remember(i, candidates, lowers, is_last ? total : -1);
      const float limit = scratch.bounds.reaches[i] + scratch.grounds[i];
      count = 0;
      for (int64_t p = 0; p < total; ++p) {
        candidates[count] = candidates[p];
        lowers[count] = lowers[p];
        count += lowers[p] <= limit;
      }
    }
    if (is_last) {
      decide(row, candidates, lowers, count);
    } else if (count > 0) {
      measure(row, candidates, count);
    }
  }

  // Forgets what later scores have put out of reach. If that is not enough lists get shorter, and
  // at last the distances are measured.
  void make_room(int64_t active_count) {
    Candidates& found = scratch.found;
    for (;;) {
      int64_t kept = 0;
      for (int64_t r = 0; r < found.count; ++r) {
        const uint32_t bits =
            within_reach(scratch.bounds, found.vector[r] * lanes, found.lower + r * lanes);
        store(found.lower + kept * lanes, load<simd::Float32>(found.lower + r * lanes));
        found.centre[kept] = found.centre[r];
        found.vector[kept] = found.vector[r];
        kept += bits != 0;
      }
      found.count = kept;
      if (kept <= found.capacity / 2) return;
      if (scratch.slack_left < 0.01f) return settle(active_count, false);
      scratch.slack_left *= 0.5f;
      for (int64_t i = 0; i < active_count; ++i) {
        const float slack = scratch.bounds.grounds[i] - scratch.grounds[i];
        scratch.bounds.grounds[i] = scratch.grounds[i] + 0.5f * slack;
      }
    }
  }

  // The rows of a vector that still want a centre with these lower bounds.
  static uint32_t within_reach(const TileBounds& bounds, int64_t first, const float* lowers) {
    const simd::Float32 limit =
        load<simd::Float32>(bounds.reaches + first) + load<simd::Float32>(bounds.grounds + first);
    return simd::less_equal_bits(load<simd::Float32>(lowers), limit);
  }
};
