// The clipped residuals of a softmax regression, from its exact products.
#pragma once

#include "residual_planes.hpp"

namespace cloister {

// All addresses are the device's; entry (j, i) of an array (classes, pitch) is of row i.
struct SoftmaxRows {
  int64_t rows;
  int64_t first;           // the number of row 0 in the data set: its class is found by that
  const int64_t* offsets;  // (classes + 1,)
  int64_t classes;
  double scale;
  const double* bias;
  Clip clip;
  const int32_t* products;  // (classes, pitch): <a, w_j>
  double* exponentials;     // (classes, pitch): scratch
  int8_t* residuals;        // (planes, classes, pitch): q, to be split in planes
  int64_t pitch;
};

void write_softmax_residuals(const SoftmaxRows& task, const Execution& execution);

}  // namespace cloister
