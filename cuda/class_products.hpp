// Exact products of clipped rows and weights by the tensor cores.
#pragma once

#include "runtime.hpp"

namespace cloister {

// A weight of at most 2^14 in magnitude is 256 high + low, both int8. out: (2, classes, padded_d),
// high then low, zeros past the end of a row; weights are (classes, d). Both are the device's.
void split_weights(const int16_t* weights, int64_t classes, int64_t d, int64_t padded_d,
                   int8_t* out, const Execution& execution);

// All addresses are the device's. A row of at most 2^11 in magnitude is 64 high + low.
struct ClassProducts {
  const int8_t* weights;  // (2, classes, padded_d)
  int64_t classes;
  const int8_t* rows;  // (2, pitch, padded_d)
  int64_t row_count, pitch;
  int64_t padded_d;   // a multiple of 64
  int32_t* products;  // (classes, pitch): <row i, weight j> at (j, i)
};

void write_class_products(const ClassProducts& task, const Execution& execution);

}  // namespace cloister
