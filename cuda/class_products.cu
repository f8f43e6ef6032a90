#include "class_products.hpp"
#include "plane_tile.cuh"

namespace cloister {
namespace {

constexpr int block_threads = 256;

__global__ void split(const int16_t* weights, int64_t classes, int64_t d, int64_t padded_d,
                      int8_t* out) {
  const int64_t place = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (place >= classes * padded_d) return;
  const int64_t j = place / padded_d, column = place % padded_d;
  const int weight = column < d ? weights[j * d + column] : 0;
  const int high = (weight + 128) >> 8;
  out[place] = static_cast<int8_t>(high);
  out[classes * padded_d + place] = static_cast<int8_t>(weight - 256 * high);
}

// 2^14 high high + 2^8 high low + 2^6 low high + low low by Horner's rule, in one set of registers.
// Modulo 2^32 on the way; the whole fits int32.
__global__ void __launch_bounds__(product_threads, 2) multiply_classes(ClassProducts task) {
  const int first_class = static_cast<int>(blockIdx.y) * product_side;
  const int first_row = static_cast<int>(blockIdx.x) * product_side;
  const PlaneTileProduct product(task.classes, first_class, task.row_count, first_row,
                                 dynamic_shared<int8_t>());
  TileSums sums = {};
  for (int phase = 0; phase < 4; ++phase) {
    const int64_t weight_plane = phase / 2, row_plane = phase % 2;
    const ByteMatrix weights{task.weights + weight_plane * task.classes * task.padded_d,
                             task.classes, task.padded_d};
    const ByteMatrix rows{task.rows + row_plane * task.pitch * task.padded_d, task.row_count,
                          task.padded_d};
    sums.multiply_by(phase == 0 ? 1 : phase == 2 ? 4 : 64);
    product.add(weights, rows, 0, task.padded_d, sums);
  }
  sums.for_each([&](int i, int j, int32_t sum) {
    const int64_t label = first_class + i, row = first_row + j;
    if (label < task.classes && row < task.row_count) {
      task.products[label * task.pitch + row] = sum;
    }
  });
}

}  // namespace

void split_weights(const int16_t* weights, int64_t classes, int64_t d, int64_t padded_d,
                   int8_t* out, const Execution& execution) {
  launch(split, {divide_up(classes * padded_d, block_threads)}, block_threads, 0, execution,
         weights, classes, d, padded_d, out);
}

void write_class_products(const ClassProducts& task, const Execution& execution) {
  allow_shared(multiply_classes);
  launch(multiply_classes,
         {divide_up(task.row_count, product_side), divide_up(task.classes, product_side)},
         product_threads, product_shared_bytes, execution, task);
}

}  // namespace cloister
