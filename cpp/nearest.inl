// The nearest centre of each row: lists and a screen leave candidates, distances decide.

template <class Kind>
inline void screen_active(Tile& tile, int64_t count, Upcoming upcoming) {
  NearestScratch& scratch = tile.scratch;
  const int64_t panels = (count + panel - 1) / panel;
  for (int64_t i = count; i < panels * panel; ++i) {  // no score reaches these
    scratch.bounds.scales[i] = scratch.bounds.slopes[i] = scratch.bounds.grounds[i] = 0;
    scratch.bounds.reaches[i] = -__builtin_inff();
  }
  scratch.found.count = 0;
  screen_tile<Kind>(tile.centres, scratch.packed, panels, scratch.bounds, scratch.found, upcoming,
                    *scratch.checkpoint, [&] { tile.make_room(count); });
  tile.settle(count, true);
}

// Settles what rows it can by their lists; returns how many are left, which become active.
inline int64_t recall_rows(Tile& tile, int64_t count, const int32_t* labels) {
  NearestScratch& scratch = tile.scratch;
  int64_t left = 0;
  for (int64_t row = 0; row < count; ++row) {
    const int64_t found = recall_candidates(
        tile.task, tile.centres, tile.codes_of(row), tile.begin + row, labels[row],
        scratch.bounds.reaches + left, scratch.list_centres, scratch.list_lowers);
    if (found > 0) {
      tile.decide(row, scratch.list_centres, scratch.list_lowers, found);
    } else {
      scratch.active[left++] = int32_t(row);
    }
  }
  scratch.recalled += count - left;
  return left;
}

// Lists take what lies within `slack` of the least score: enough to fill them, not much more.
inline void adjust_slack(NearestScratch& scratch, int64_t rows, int64_t length) {
  constexpr float least = 0x1p-20f, most = 8.0f;  // at 2, lists reach all centres
  const float wanted = 1.25f * float(rows * length) / float(scratch.listed + 1);
  const float factor = wanted > 1.25f ? 1.25f : wanted < 0.8f ? 0.8f : wanted;
  const float slack = scratch.slack * scratch.slack_left * factor;
  scratch.slack = slack < least ? least : slack > most ? most : slack;
  scratch.listed = 0;
}

inline void nearest_by_codes(Tile& tile, int64_t count, bool has_labels, const int32_t* labels) {
  const NearestTask& task = tile.task;
  NearestScratch& scratch = tile.scratch;
  const int64_t stride = padded_codes(task.d);
  const ScreenedRows& rows = tile.rows;
  // Even where no list is used, the score of a row's former centre keeps its list short.
  const bool recalls = has_labels && (task.neighbours.recalls || task.neighbours.builds);
  const int64_t active = recalls ? recall_rows(tile, count, labels) : count;
  if (active == 0) return;
  scratch.slack_left = task.neighbours.builds ? 1 : 0;
  const float slack = task.neighbours.builds ? scratch.slack * tile.centres.largest_norm : 0;
  const TileBounds& bounds = scratch.bounds;
  auto bound_row = [&](int64_t i, int64_t row) {
    bounds.scales[i] = rows.scales[row];
    bounds.slopes[i] = screen_slope(tile.centres, rows.norms[row], rows.errors[row]);
    scratch.grounds[i] = screen_ground(tile.centres, task.d, rows.norms[row]);
    bounds.grounds[i] = scratch.grounds[i] + slack * rows.norms[row];
  };
  if (recalls) {
    for (int64_t i = 0; i < active; ++i) bound_row(i, scratch.active[i]);
  } else {
    for (int64_t i = 0; i < active; ++i) bound_row(i, i);
    for (int64_t i = 0; i < active; ++i) bounds.reaches[i] = __builtin_inff();
  }
  pack_codes(rows.codes, stride, scratch.active, active, tile.centres.steps, scratch.packed);
  // The next tile, which is read after this one: harmless where rows have ended.
  Upcoming upcoming{(const char*)(rows.codes + count * stride), nullptr};
  upcoming.end = upcoming.at + count * stride;
  if (!task.screened.codes) {
    upcoming.at = (const char*)(task.rows + (tile.begin + count) * task.d);
    upcoming.end = upcoming.at + count * task.d * int64_t(sizeof(float));
  }
  screen_active<Int8Products>(tile, active, upcoming);
  if (task.neighbours.builds) adjust_slack(scratch, active, task.neighbours.length);
}

inline void nearest_by_floats(Tile& tile, int64_t count) {
  const NearestTask& task = tile.task;
  NearestScratch& scratch = tile.scratch;
  pack_rows(task, tile.begin, scratch.active, count, (float*)scratch.packed, scratch.rows.norms);
  // A chain of d fused multiply-adds is right to d half_ulp / (1 - d half_ulp) |x| |c|.
  const float first_order = float(task.d) * half_ulp, rounding = first_order * (1 + first_order);
  for (int64_t i = 0; i < count; ++i) {
    const float norm = scratch.rows.norms[i];
    scratch.bounds.scales[i] = 1;
    scratch.bounds.slopes[i] = screen_slope(tile.centres, norm, rounding * norm);
    scratch.bounds.grounds[i] = scratch.grounds[i] = screen_ground(tile.centres, task.d, norm);
    scratch.bounds.reaches[i] = __builtin_inff();
  }
  Upcoming upcoming{(const char*)(task.rows + (tile.begin + count) * task.d), nullptr};
  upcoming.end = upcoming.at + count * task.d * int64_t(sizeof(float));
  screen_active<Float32Products>(tile, count, upcoming);
}

void nearest_rows(const NearestTask& task, const ScreenedCentres& centres, int64_t begin,
                  int64_t end, NearestScratch& scratch, bool has_labels, int32_t* labels) {
  const int64_t count = end - begin;
  Tile tile{task, centres, {}, begin, padded_codes(task.d), scratch};
  for (int64_t i = 0; i < count; ++i) {
    scratch.active[i] = int32_t(i);
    scratch.nearest[i] = -1;
    scratch.distances[i] = __builtin_inff();
  }
  if (centres.products == Products::float32) {
    nearest_by_floats(tile, count);
  } else {
    tile.rows = scratch.rows;
    if (task.screened.codes) {
      tile.rows = {task.screened.codes + begin * padded_codes(task.d), task.screened.scales + begin,
                   task.screened.norms + begin, task.screened.errors + begin};
    } else {
      encode_nearest_rows(task, begin, end, tile.rows);
    }
    nearest_by_codes(tile, count, has_labels, labels);
  }
  tile.measure_waiting();
  // Rows with NaN, which nobody promises anything, have no candidates.
  for (int64_t i = 0; i < count; ++i) labels[i] = scratch.nearest[i] < 0 ? 0 : scratch.nearest[i];
}
