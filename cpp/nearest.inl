// Nearest centres in float32: rows packed into lanes, centres broadcast in register blocks.

constexpr int64_t chain_length = 256;
constexpr int64_t cache_line = 64;

// Which lanes of two vectors make up the low and the high half of their interleaving.
struct ZipLanes {
  int32_t low[lanes], high[lanes];
};

constexpr ZipLanes make_zip_lanes() {
  ZipLanes zip{};
  for (int32_t lane = 0; lane < int32_t(lanes); ++lane) {
    zip.low[lane] = lane / 2 + lane % 2 * int32_t(lanes);
    zip.high[lane] = zip.low[lane] + int32_t(lanes) / 2;
  }
  return zip;
}

constexpr ZipLanes zip_lanes = make_zip_lanes();

// Rows become lanes: each round interleaves the first half of the vectors with the second, which
// rotates the bits of (vector, lane) by one place; log2(lanes) rounds exchange the two.
[[gnu::always_inline]] inline void transpose(simd::Float32 (&vectors)[lanes]) {
  const simd::Int32 low = load<simd::Int32>(zip_lanes.low);
  const simd::Int32 high = load<simd::Int32>(zip_lanes.high);
#pragma GCC unroll 4
  for (int64_t round = 1; round < lanes; round *= 2) {
    simd::Float32 zipped[lanes];
#pragma GCC unroll 8
    for (int64_t i = 0; i < lanes / 2; ++i) {
      zipped[2 * i] = __builtin_shuffle(vectors[i], vectors[i + lanes / 2], low);
      zipped[2 * i + 1] = __builtin_shuffle(vectors[i], vectors[i + lanes / 2], high);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < lanes; ++i) vectors[i] = zipped[i];
  }
}

// packed[p][t][lane] = coordinate t of row p * panel + lane, less the shift; zeros past the end.
inline void pack_rows(const NearestTask& task, int64_t begin, int64_t end, float* packed) {
  const int64_t whole = task.d / lanes * lanes;
  for (int64_t first = begin; first < end; first += lanes) {
    const float* row[lanes];
    for (int64_t lane = 0; lane < lanes; ++lane) {  // past the end: shift - shift, zeros
      row[lane] = first + lane < end ? task.rows + (first + lane) * task.d : task.shift;
    }
    const int64_t place = first - begin;
    float* target = packed + place / panel * panel * task.d + place % panel;
    for (int64_t t = 0; t < whole; t += lanes) {
      const simd::Float32 shift = load<simd::Float32>(task.shift + t);
      simd::Float32 vectors[lanes];
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i) vectors[i] = load<simd::Float32>(row[i] + t) - shift;
      transpose(vectors);
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i) store(target + (t + i) * panel, vectors[i]);
    }
    for (int64_t lane = 0; lane < lanes; ++lane) {
      for (int64_t t = whole; t < task.d; ++t) {
        target[t * panel + lane] = row[lane][t] - task.shift[t];
      }
    }
  }
  if ((end - begin - 1) % panel < lanes) {  // the last panel's second half was not reached
    float* target = packed + (end - begin - 1) / panel * panel * task.d + lanes;
    for (int64_t t = 0; t < task.d; ++t) store(target + t * panel, simd::Float32{});
  }
}

// Blocks of centres as the products read them, packed[t][b], the block at `first` starting at
// first * d; and their half norms, by the same chain as the products.
void prepare_centres(const float* centres, int64_t d, int64_t begin, int64_t end, float* packed,
                     float* half_norms) {
  in_blocks<simd::broadcast_block>(begin, end, [&](auto block, int64_t first) {
    constexpr int64_t width = block.value;
    float* target = packed + first * d;
    for (int64_t b = 0; b < width; ++b) {
      for (int64_t t = 0; t < d; ++t) target[t * width + b] = centres[(first + b) * d + t];
    }
    float norms[width] = {};
    for (int64_t start = 0; start < d; start += chain_length) {
      const int64_t stop = d - start < chain_length ? d : start + chain_length;
      float chains[width] = {};
      for (int64_t t = start; t < stop; ++t) {
        for (int64_t b = 0; b < width; ++b) {
          const float value = target[t * width + b];
          chains[b] = __builtin_fmaf(value, value, chains[b]);
        }
      }
      for (int64_t b = 0; b < width; ++b) norms[b] += chains[b];
    }
    for (int64_t b = 0; b < width; ++b) half_norms[first + b] = 0.5f * norms[b];
  });
}

struct Fetch {
  const char* from;
  int64_t step;
};

// The rows of the next tile, fetched from memory while the products of this one are computed.
struct Upcoming {
  const char* at;
  const char* end;

  // The next `lines` cache lines; once all were given out, one line for ever.
  Fetch next(int64_t lines) {
    const char* from = at;
    at = end - at > lines * cache_line ? at + lines * cache_line : end;
    return {from, from < end ? cache_line : 0};
  }
};

// totals[b] = <x, c_b>, or |x - c_b|^2, for the rows x of a panel and a block of centres. On the
// way one cache line a coordinate is fetched.
template <int64_t block, bool differences>
[[gnu::always_inline]] inline void chained_products(const float* packed, const float* centres,
                                                    int64_t d, Fetch fetch,
                                                    simd::Float32 (&totals)[block][2]) {
  for (int64_t b = 0; b < block; ++b) totals[b][0] = totals[b][1] = simd::Float32{};
  for (int64_t start = 0; start < d; start += chain_length) {
    const int64_t stop = d - start < chain_length ? d : start + chain_length;
    simd::Float32 chains[block][2];
    for (int64_t b = 0; b < block; ++b) chains[b][0] = chains[b][1] = simd::Float32{};
    for (int64_t t = start; t < stop; ++t) {
      __builtin_prefetch(fetch.from + t * fetch.step, 0, 2);
      const simd::Float32 first = load<simd::Float32>(packed + t * panel);
      const simd::Float32 second = load<simd::Float32>(packed + t * panel + lanes);
#pragma GCC unroll 16
      for (int64_t b = 0; b < block; ++b) {
        const simd::Float32 centre = broadcast(centres[t * block + b]);
        if constexpr (differences) {
          const simd::Float32 low = first - centre, high = second - centre;
          chains[b][0] = simd::multiply_add(low, low, chains[b][0]);
          chains[b][1] = simd::multiply_add(high, high, chains[b][1]);
        } else {
          chains[b][0] = simd::multiply_add(first, centre, chains[b][0]);
          chains[b][1] = simd::multiply_add(second, centre, chains[b][1]);
        }
      }
    }
    for (int64_t b = 0; b < block; ++b) {
      totals[b][0] += chains[b][0];
      totals[b][1] += chains[b][1];
    }
  }
}

struct Closest {
  simd::Float32 score[2];
  simd::Int32 centre[2];
};

template <int64_t block>
inline void compare_block(const NearestTask& task, const float* packed, int64_t first, Fetch fetch,
                          Closest& closest) {
  simd::Float32 products[block][2];
  chained_products<block, false>(packed, task.packed_centres + first * task.d, task.d, fetch,
                                 products);
  for (int64_t b = 0; b < block; ++b) {
    for (int half = 0; half < 2; ++half) {
      const simd::Float32 score = task.half_norms[first + b] - products[b][half];
      // Strictly less: among equal scores the smallest centre, seen first, stays.
      const simd::Int32 closer = score < closest.score[half];
      closest.score[half] = closer ? score : closest.score[half];
      closest.centre[half] = closer ? simd::Int32{} + int32_t(first + b) : closest.centre[half];
    }
  }
}

inline void label_rows(const NearestTask& task, const float* packed, int64_t rows,
                       Upcoming upcoming, int32_t* labels) {
  Closest closest[nearest_tile_rows / panel];
  const int64_t panels = (rows + panel - 1) / panel;
  for (int64_t p = 0; p < panels; ++p) {
    for (int half = 0; half < 2; ++half) {
      closest[p].score[half] = broadcast(__builtin_inff());
      closest[p].centre[half] = simd::Int32{};
    }
  }
  in_blocks<simd::broadcast_block>(0, task.k, [&](auto block, int64_t first) {
    for (int64_t p = 0; p < panels; ++p) {
      compare_block<block.value>(task, packed + p * panel * task.d, first, upcoming.next(task.d),
                                 closest[p]);
    }
  });
  for (int64_t i = 0; i < rows; ++i) {
    labels[i] = closest[i / panel].centre[i % panel / lanes][i % lanes];
  }
}

inline void measure_all(const NearestTask& task, const float* packed, int64_t rows,
                        Upcoming upcoming, float* all_distances) {
  in_blocks<simd::broadcast_block>(0, task.k, [&](auto block, int64_t first) {
    constexpr int64_t width = block.value;
    for (int64_t start = 0; start < rows; start += panel) {
      simd::Float32 squares[width][2];
      chained_products<width, true>(packed + start * task.d, task.packed_centres + first * task.d,
                                    task.d, upcoming.next(task.d), squares);
      float values[width][panel];
      std::memcpy(values, squares, sizeof values);
      const int64_t here = rows - start < panel ? rows - start : panel;
      for (int64_t i = 0; i < here; ++i) {
        float* target = all_distances + (start + i) * task.k + first;
        for (int64_t b = 0; b < width; ++b) target[b] = values[b][i];
      }
    }
  });
}

// A square's rounding and a sum's: no product is fused, so that all targets agree.
inline double squared_distance(const float* row, const float* shift, const float* centre,
                               int64_t d) {
  constexpr int64_t width = 8;
  double sums[width] = {};
  int64_t t = 0;
  for (; t + width <= d; t += width) {
    for (int64_t lane = 0; lane < width; ++lane) {
      const float x = row[t + lane] - shift[t + lane];
      const double difference = double(x) - double(centre[t + lane]);
      sums[lane] += difference * difference;
    }
  }
  for (int64_t lane = 0; t + lane < d; ++lane) {
    const float x = row[t + lane] - shift[t + lane];
    const double difference = double(x) - double(centre[t + lane]);
    sums[lane] += difference * difference;
  }
  for (int64_t half = width / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

void nearest_rows(const NearestTask& task, int64_t begin, int64_t end, float* packed,
                  int32_t* labels, double* distances, float* all_distances) {
  const float* next = task.rows + end * task.d;  // fetching is harmless where rows have ended
  const Upcoming upcoming{(const char*)next, (const char*)(next + (end - begin) * task.d)};
  pack_rows(task, begin, end, packed);
  if (labels) label_rows(task, packed, end - begin, upcoming, labels);
  if (all_distances) measure_all(task, packed, end - begin, upcoming, all_distances);
  if (!distances) return;
  for (int64_t i = begin; i < end; ++i) {
    const float* centre = task.centres + labels[i - begin] * task.d;
    distances[i - begin] = squared_distance(task.rows + i * task.d, task.shift, centre, task.d);
  }
}

// Adding 1.5 * 2^52 leaves rint(x * scale) in the low bits of the sum: for |x * scale| <= 2^50 the
// bits are those of the constant plus that integer. The caller takes the constants off at the end.
void add_nearest_rows(const NearestTask& task, int64_t begin, int64_t end, const int32_t* labels,
                      double scale, uint64_t* counts, uint64_t* sums) {
  const int64_t d = task.d;  // a local, which the stores below cannot change
  for (int64_t i = begin; i < end; ++i) {
    const int64_t label = labels[i - begin];
    const float* row = task.rows + i * d;
    uint64_t* __restrict sum = sums + label * d;
    for (int64_t t = 0; t < d; ++t) {
      const float x = row[t] - task.shift[t];
      sum[t] += __builtin_bit_cast(uint64_t, double(x) * scale + rounding_magic);
    }
    counts[label] += 1;
  }
}
