// Exact sums of the rows of each cluster, kept up to date as rows move.

// Adding 1.5 * 2^52 leaves rint(value) in the low bits of the sum: for |value| <= 2^50 the bits are
// those of the constant plus that integer. The caller takes the constants off at the end: each row
// added leaves one, each row removed takes one.
template <bool removes>
[[gnu::always_inline]] inline void add_shifted(const NearestTask& task, int64_t row, double weight,
                                               double scale, uint64_t* __restrict sum) {
  const float* source = task.rows + row * task.d;
  const int64_t d = task.d;  // a local, which the stores below cannot change
  for (int64_t t = 0; t < d; ++t) {
    const float x = source[t] - task.shift[t];
    const double value = double(x) * weight * scale + rounding_magic;
    const uint64_t bits = __builtin_bit_cast(uint64_t, value);
    sum[t] = removes ? sum[t] - bits : sum[t] + bits;
  }
}

int64_t add_moved_rows(const NearestTask& task, int64_t begin, int64_t end, const int32_t* labels,
                       const int32_t* previous, const ClusterSums& out) {
  int64_t moved = 0;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t label = labels[i - begin];
    const int64_t left = previous ? previous[i - begin] : -1;
    if (label == left) continue;
    ++moved;
    const double weight = task.weights ? task.weights[i] : 1.0;
    const uint64_t mass =
        uint64_t(int64_t((weight * out.mass_scale + rounding_magic) - rounding_magic));
    add_shifted<false>(task, i, weight, out.sum_scale, out.sums + label * task.d);
    out.rows[label] += 1;
    out.masses[label] += mass;
    if (left < 0) continue;
    add_shifted<true>(task, i, weight, out.sum_scale, out.sums + left * task.d);
    out.rows[left] -= 1;
    out.masses[left] -= mass;
  }
  return moved;
}
