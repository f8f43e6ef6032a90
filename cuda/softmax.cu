// One thread a row, for sums in the order of the classes. Each operation rounds on its own.
#include "residual.cuh"
#include "softmax.hpp"
#include "split.cuh"

namespace cloister {
namespace {

constexpr int block_threads = 128;
constexpr double least_exponent = -700.0;

__device__ __forceinline__ double multiply_add(double a, double b, double c) {
  return __dadd_rn(__dmul_rn(a, b), c);
}

// exp of -700 <= x <= 0 as kernels.hpp has it: no subnormal comes up.
__device__ __forceinline__ double exponential(double x) {
  constexpr double magic = 0x1.8p52, log2_e = 0x1.71547652b82fep+0;
  constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  const double shifted = multiply_add(x, log2_e, magic);
  const double power = __dsub_rn(shifted, magic);
  const double rest =
      __dsub_rn(__dsub_rn(x, __dmul_rn(power, ln2_high)), __dmul_rn(power, ln2_low));
  double value = multiply_add(rest, 1.0 / 39916800, 1.0 / 3628800);
  value = multiply_add(value, rest, 1.0 / 362880);
  value = multiply_add(value, rest, 1.0 / 40320);
  value = multiply_add(value, rest, 1.0 / 5040);
  value = multiply_add(value, rest, 1.0 / 720);
  value = multiply_add(value, rest, 1.0 / 120);
  value = multiply_add(value, rest, 1.0 / 24);
  value = multiply_add(value, rest, 1.0 / 6);
  value = multiply_add(value, rest, 1.0 / 2);
  value = multiply_add(value, rest, 1.0);
  value = multiply_add(value, rest, 1.0);
  // The power lies in the low bits of `shifted`, in two's complement: added to the exponent.
  return __hiloint2double(__double2hiint(value) + (__double2loint(shifted) << 20),
                          __double2loint(value));
}

__device__ __forceinline__ double logit(const SoftmaxRows& task, int64_t j, int64_t i) {
  return multiply_add(as_double(task.products[j * task.pitch + i]), task.scale, task.bias[j]);
}

// Leaves e_j in the scratch and returns their sum.
__device__ __forceinline__ double write_exponentials(const SoftmaxRows& task, int64_t i) {
  double largest = logit(task, 0, i);
  for (int64_t j = 1; j < task.classes; ++j) {
    const double z = logit(task, j, i);
    largest = z > largest ? z : largest;
  }
  double sum = 0.0;
  for (int64_t j = 0; j < task.classes; ++j) {
    const double x = __dsub_rn(logit(task, j, i), largest);
    const double e = x >= least_exponent ? exponential(x) : 0.0;
    task.exponentials[j * task.pitch + i] = e;
    sum = __dadd_rn(sum, e);
  }
  return sum;
}

// Leaves r_j where e_j was and returns the factor of the clip.
__device__ __forceinline__ double write_residuals(const SoftmaxRows& task, int64_t i, double sum) {
  int64_t label = 0, high = task.classes;  // the last class that starts at or before the row
  while (high - label > 1) {
    const int64_t middle = (label + high) / 2;
    (task.offsets[middle] <= task.first + i ? label : high) = middle;
  }
  double squares = 0.0;
  for (int64_t j = 0; j < task.classes; ++j) {
    double* place = task.exponentials + j * task.pitch + i;
    const double p = __ddiv_rn(*place, sum);
    const double r = j == label ? __dsub_rn(p, 1.0) : p;
    *place = r;
    squares = __dadd_rn(squares, __dmul_rn(r, r));
  }
  return clip_factor(__dsqrt_rn(squares), task.clip);
}

// Writes the codes after some steps towards zero; returns the sum of their squares.
__device__ __forceinline__ int64_t write_codes(const SoftmaxRows& task, int64_t i, double factor,
                                               int steps) {
  int64_t squares = 0;
  for (int64_t j = 0; j < task.classes; ++j) {
    const double r = task.exponentials[j * task.pitch + i];
    const int32_t code = after_steps(rounded_product(r, factor), steps);
    squares += code * code;
    const Split split(code);
    for (int p = 0; p < planes; ++p) {
      task.residuals[(p * task.classes + j) * task.pitch + i] = split.plane(p);
    }
  }
  return squares;
}

__global__ void __launch_bounds__(block_threads) softmax_rows(SoftmaxRows task) {
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (i >= task.rows) return;
  const double sum = write_exponentials(task, i);
  const double factor = write_residuals(task, i, sum);
  // The guarantee rests on this check, made on the very integers that are summed.
  for (int steps = 0; steps <= becomes_zero; ++steps) {
    if (write_codes(task, i, factor, steps) <= task.clip.bound * task.clip.bound) return;
  }
}

}  // namespace

void write_softmax_residuals(const SoftmaxRows& task, const Execution& execution) {
  launch(softmax_rows, {divide_up(task.rows, block_threads)}, block_threads, 0, execution, task);
}

}  // namespace cloister
