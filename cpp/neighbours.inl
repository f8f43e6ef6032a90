// Lists of the centres near each row, by which later calls skip all others (after Drake and
// Hamerly, "Accelerated k-means with adaptive distance bounds", 2012).
//
// A list comes with a bound: when it was made, in call t, every centre that is not on it was at
// least that far from the row. By the triangle inequality no such centre is now nearer than the
// bound less the farthest that any has moved since. While the row's own centre is nearer than that,
// the nearest is on the list, or among the few `movers`, which are looked at anyway.

constexpr uint16_t end_of_list = 0xFFFF;

// Distances from scores: |x - c|^2 = 2 score + |x|^2. Norms are right to sum_error of themselves.
inline double distance_above(double score, double norm) {
  const double squared = 2 * score + norm * norm;
  return __builtin_sqrt(squared > 0 ? squared : 0) * (1 + 1e-12);
}

inline double distance_below(double score, double norm, int64_t d) {
  const double least = norm * (1 - 3.0 * sum_error(d));
  const double squared = 2 * score + least * least;
  return __builtin_sqrt(squared > 0 ? squared : 0) * (1 - 1e-12);
}

// Makes a row's list of the centres found, whose scores are at least `lowers`; all others' are at
// least `limit`.
inline void remember_neighbours(const Neighbours& memory, int64_t row, double norm, int64_t d,
                                const int32_t* found, const float* lowers, int64_t count,
                                float limit) {
  uint16_t* list = memory.lists + row * memory.length;
  float kept[longest_list];
  int64_t length = 0;
  for (int64_t p = 0; p < count; ++p) {  // by insertion: few are left out
    if (length == memory.length) {
      if (lowers[p] >= kept[length - 1]) {
        limit = lowers[p] < limit ? lowers[p] : limit;
        continue;
      }
      limit = kept[length - 1] < limit ? kept[length - 1] : limit;
      --length;
    }
    int64_t place = length++;
    for (; place > 0 && kept[place - 1] > lowers[p]; --place) {
      kept[place] = kept[place - 1];
      list[place] = list[place - 1];
    }
    kept[place] = lowers[p];
    list[place] = uint16_t(found[p]);
  }
  const float second = length > 1 ? kept[1] : limit;
  for (; length < memory.length; ++length) list[length] = end_of_list;
  memory.seconds[row] = float(distance_below(second, norm, d) * (1 - 2.0 * half_ulp));
  memory.bounds[row] = float(distance_below(limit, norm, d) * (1 - 2.0 * half_ulp));
  memory.calls[row] = int16_t(memory.call);
}

// A row's score of a centre by the codes of both, and the bound of its error.
struct Score {
  double value, error;
};

inline Score coarse_score(const ScreenedCentres& centres, const RowCodes& row, int64_t j,
                          int64_t padded_d) {
  const int32_t product = byte_product(row.codes, centres.codes + j * padded_d, padded_d);
  const double scale = double(row.scale) * centres.scales[j];
  return {double(centres.half_norms[j]) - scale * (product + centres.offsets[j]),
          double(row.slope) * centres.norms[j]};
}

// Fills `candidates` and returns their number, or 0 where the list does not settle the row. `reach`
// becomes at least the least score.
inline int64_t recall_candidates(const NearestTask& task, const ScreenedCentres& centres,
                                 const RowCodes& row, int64_t place, int32_t label, float* reach,
                                 int32_t* candidates, float* lowers) {
  const Neighbours& memory = task.neighbours;
  const int64_t padded_d = padded_codes(task.d);
  const Score own = coarse_score(centres, row, label, padded_d);
  double least = own.value + own.error;
  *reach = float(least * (least > 0 ? 1 + 2.0 * half_ulp : 1 - 2.0 * half_ulp));
  if (memory.calls[place] < 0) return 0;
  // Twice the rounding of the distances that decide, and what stands for squares that vanish: see
  // screen.inl.
  const double safe = 1 + double(task.d / 32 + 16) * (2 * half_ulp);
  const int16_t call = memory.calls[place];
  const double within = distance_above(least, row.norm) * safe + 0x1p-60;
  const uint16_t* list = memory.lists + place * memory.length;
  candidates[0] = label;
  if (within < memory.seconds[place] - memory.all_moved[call] && list[0] == label) return 1;
  if (within >= memory.bounds[place] - memory.moved[call]) return 0;
  int64_t count = 1;
  auto add = [&](int32_t j) {
    if (j == label) return;
    const Score score = coarse_score(centres, row, j, padded_d);
    const double upper = score.value + score.error;
    least = upper < least ? upper : least;
    candidates[count] = j;
    lowers[count++] = float(score.value - score.error);
  };
  lowers[0] = float(own.value - own.error);
  for (int64_t p = 0; p < memory.length && list[p] != end_of_list; ++p) {
    if (!memory.is_mover[list[p]]) add(list[p]);
  }
  for (int64_t p = 0; p < memory.movers; ++p) add(memory.mover[p]);
  int64_t kept = 0;
  for (int64_t p = 0; p < count; ++p) {
    const double size = lowers[p] > 0 ? lowers[p] : -lowers[p];
    candidates[kept] = candidates[p];
    lowers[kept] = lowers[p];
    kept += lowers[p] - size * (2 * half_ulp) <= least + row.ground;  // lowers are rounded
  }
  return kept;
}
