#include "distance_lanes.cuh"

namespace cloister {
namespace {

constexpr int block_threads = 256;
static_assert(block_threads == step_numbers);

__global__ void __launch_bounds__(block_threads)
    pack(const float* centres, int64_t k, int64_t d, int64_t steps, float* packed) {
  const int64_t group = blockIdx.x / steps, step = blockIdx.x % steps;
  const int64_t centre = group * pair_centres + threadIdx.x / 32, t = step * 32 + threadIdx.x % 32;
  packed[packed_place(group, steps, step) + threadIdx.x] =
      centre < k && t < d ? centres[centre * d + t] : 0.0f;
}

}  // namespace

Scratch<float> packed_centres(const float* centres, int64_t k, int64_t d,
                              const Execution& execution) {
  const int64_t steps = lane_steps(d), blocks = divide_up(k, pair_centres) * steps;
  Scratch<float> packed(blocks * step_numbers, stream_of(execution));
  launch(pack, {blocks}, block_threads, 0, execution, centres, k, d, steps, packed.data());
  return packed;
}

}  // namespace cloister
