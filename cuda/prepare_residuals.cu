#include "prepare_residuals.hpp"
#include "residual.cuh"

namespace cloister {
namespace {

constexpr int block_threads = 256, rows_of_block = block_threads / 32;

// One warp a row, which it reads twice: the second time it lies in the cache.
__global__ void __launch_bounds__(block_threads)
    prepare_rows(const int16_t* codes, int64_t n, int64_t d, const int16_t* centres,
                 const int32_t* cells, Clip clip, double* factors, uint8_t* steps) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = int64_t{blockIdx.x} * rows_of_block + threadIdx.x / 32;
  if (row >= n) return;
  const int64_t cell = cells ? cells[row] : 0;
  if (cell < 0) return;
  const int16_t* code = codes + row * d;
  const int16_t* centre = centres + cell * d;

  int32_t squares = 0;
  for (int64_t j = lane; j < d; j += 32) {
    const int32_t difference = code[j] - centre[j];
    squares += difference * difference;
  }
  const double factor = residual_factor(group_sum<32>(squares), clip);
  const int taken = steps_into_ball<32>(clip.bound, [&](int after) {
    int64_t sum = 0;
    for (int64_t j = lane; j < d; j += 32) {
      const int32_t residual =
          after_steps(rounded_product(as_double(code[j] - centre[j]), factor), after);
      sum += residual * residual;
    }
    return sum;
  });
  if (lane == 0) {
    factors[row] = factor;
    steps[row] = static_cast<uint8_t>(taken);
  }
}

}  // namespace

void prepare_residuals(const int16_t* codes, int64_t n, int64_t d, const int16_t* centres,
                       const int32_t* cells, const Clip& clip, const PreparedRows& out,
                       const Execution& execution) {
  launch(prepare_rows, {divide_up(n, rows_of_block)}, block_threads, 0, execution, codes, n, d,
         centres, cells, clip, out.factors.data(), out.steps.data());
}

}  // namespace cloister
