#include "cluster_sums.hpp"
#include "instructions.cuh"
#include "prefix_sums.hpp"

namespace cloister {
namespace {

using Sum = unsigned long long;
constexpr int block_threads = 256;
constexpr int run_rows = 128;  // rows that a thread adds up before it writes

// Rows of one step: numbers that fit int32, and some milliseconds.
int64_t rows_of_step(int64_t d) {
  return std::clamp<int64_t>(step_work(int64_t{1} << 32) / d, 1, 1 << 28);
}

// Counts the rows that leave or join each cluster; ranks[i] is the row's place among them, -1: the
// row stays where it is.
__global__ void __launch_bounds__(block_threads)
    count_moved(const int32_t* own, const int32_t* other, int64_t n, int32_t* sizes,
                int32_t* ranks) {
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (i >= n) return;
  const bool moves = !other || own[i] != other[i];
  ranks[i] = moves ? atomicAdd(sizes + own[i], 1) : -1;
}

__global__ void __launch_bounds__(block_threads)
    list_moved(const int32_t* own, const int32_t* ranks, int64_t n, const int64_t* starts,
               int32_t* order) {
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (i < n && ranks[i] >= 0) order[starts[own[i]] + ranks[i]] = static_cast<int32_t>(i);
}

// rint(value), |value| <= 2^50: adding 1.5 * 2^52 leaves it in the low bits of the sum.
__device__ __forceinline__ Sum rounded(double value) {
  constexpr double magic = 6755399441055744.0;
  return static_cast<Sum>(__double_as_longlong(__dadd_rn(value, magic))) -
         static_cast<Sum>(__double_as_longlong(magic));
}

// The rows of `own` labels, those of a cluster together; sums are taken off if `removes`.
struct Moves {
  const int32_t* own;
  const int32_t* order;
  const int64_t* count;
  bool removes;
};

// Adds up what value_of(row) is for the places from `begin` on, and writes for every cluster. Reads
// a few rows before it adds them: what follows from a label would wait for each.
template <class ValueOf>
__device__ __forceinline__ void add_run(const Moves& moves, int64_t begin, int64_t stride,
                                        Sum* table, ValueOf&& value_of) {
  constexpr int batch = 8;
  const int64_t end = min(begin + run_rows, *moves.count);
  if (begin >= end) return;
  Sum sum = 0;
  int32_t cluster = moves.own[moves.order[begin]];
  auto write = [&] {
    atomicAdd(table + int64_t{cluster} * stride, moves.removes ? Sum{0} - sum : sum);
  };
  for (int64_t p = begin; p < end; p += batch) {
    int32_t rows[batch], clusters[batch];
    Sum values[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) rows[b] = moves.order[min(p + b, end - 1)];
#pragma unroll
    for (int b = 0; b < batch; ++b) clusters[b] = moves.own[rows[b]];
#pragma unroll
    for (int b = 0; b < batch; ++b) values[b] = p + b < end ? value_of(rows[b]) : Sum{0};
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      if (clusters[b] != cluster) {
        write();
        cluster = clusters[b];
        sum = 0;
      }
      sum += values[b];
    }
  }
  write();
}

// A thread takes one column of run_rows places; 2^column_bits threads stand side by side.
__global__ void __launch_bounds__(block_threads)
    add_columns(ClusterRows task, Moves moves, int column_bits, Sum* sums) {
  const int64_t column =
      (int64_t{blockIdx.y} << column_bits) + (threadIdx.x & ((1u << column_bits) - 1));
  const int64_t runs_of_block = block_threads >> column_bits;
  const int64_t run = blockIdx.x * runs_of_block + (threadIdx.x >> column_bits);
  if (column >= task.d) return;
  const float shift = task.shift[column];
  add_run(moves, run * run_rows, task.d, sums + column, [&](int32_t row) {
    const double x = __fsub_rn(task.rows[int64_t{row} * task.d + column], shift);
    const double weight = task.weights ? task.weights[row] : 1.0;
    return rounded(__dmul_rn(__dmul_rn(x, weight), task.sum_scale));
  });
}

__global__ void __launch_bounds__(block_threads)
    add_masses(ClusterRows task, Moves moves, Sum* counts) {
  const int64_t run = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  add_run(moves, run * run_rows, 1, counts, [&](int32_t row) {
    return rounded(__dmul_rn(task.weights ? task.weights[row] : 1.0, task.count_scale));
  });
}

// Scratch of a step, and the tables.
class Adder {
 public:
  Adder(const ClusterRows& task, const ClusterTables& tables, int64_t step,
        const Execution& execution)
      : tables_(tables),
        execution_(execution),
        sizes_(task.k, stream_of(execution)),
        ranks_(step, stream_of(execution)),
        order_(step, stream_of(execution)),
        starts_(task.k + 1, stream_of(execution)) {
    while (column_bits_ < 8 && (int64_t{1} << column_bits_) < task.d) ++column_bits_;
  }

  // Adds the rows whose own label is not the other to the clusters of `own`, or takes them off.
  void add(const ClusterRows& task, const int32_t* own, const int32_t* other, bool removes) {
    const Grid3 grid{divide_up(task.n, block_threads)};
    sizes_.clear();
    launch(count_moved, grid, block_threads, 0, execution_, own, other, task.n, sizes_.data(),
           ranks_.data());
    prefix_sums(sizes_.data(), task.k, 1, starts_.data(), execution_);
    launch(list_moved, grid, block_threads, 0, execution_, own, ranks_.data(), task.n,
           starts_.data(), order_.data());
    const Moves moves{own, order_.data(), moved(task), removes};
    const int64_t runs = divide_up(task.n, run_rows);
    if (tables_.sums.size()) {
      launch(add_columns,
             {divide_up(runs, block_threads >> column_bits_),
              divide_up(task.d, int64_t{1} << column_bits_)},
             block_threads, 0, execution_, task, moves, column_bits_, tables_.sums.data());
    }
    if (tables_.counts.size()) {
      launch(add_masses, {divide_up(runs, block_threads)}, block_threads, 0, execution_, task,
             moves, tables_.counts.data());
    }
  }

  // On the device: how many rows the last call of `add` was about.
  const int64_t* moved(const ClusterRows& task) const { return starts_.data() + task.k; }

 private:
  const ClusterTables& tables_;
  const Execution& execution_;
  Scratch<int32_t> sizes_, ranks_, order_;
  Scratch<int64_t> starts_;
  int column_bits_ = 0;
};

__global__ void add_number(const int64_t* number, Sum* total) {
  if (threadIdx.x == 0) *total += static_cast<Sum>(*number);
}

}  // namespace

int64_t add_moved_rows(const ClusterRows& task, const int32_t* labels, const int32_t* previous,
                       const ClusterTables& tables, const Execution& execution) {
  const int64_t step = std::min(task.n, rows_of_step(task.d));
  const Scratch<Sum> moved(1, stream_of(execution));
  moved.clear();
  Adder adder(task, tables, step, execution);
  Pace pace(execution);
  for (int64_t first = 0; first < task.n; first += step) {
    ClusterRows part = task;
    part.n = std::min(step, task.n - first);
    part.rows += first * task.d;
    if (part.weights) part.weights += first;
    const int32_t* before = previous ? previous + first : nullptr;
    adder.add(part, labels + first, before, false);
    launch(add_number, {1}, 32, 0, execution, adder.moved(part), moved.data());
    pace.step();
    if (before) adder.add(part, before, labels + first, true);
    pace.step();
  }
  return static_cast<int64_t>(moved.download(execution)[0]);
}

}  // namespace cloister
