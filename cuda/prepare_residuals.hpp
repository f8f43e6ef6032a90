// How each row's residual is clipped, where it is not kept in registers.
#pragma once

#include "runtime.hpp"

namespace cloister {

// The residual of a row is after_steps(rint((code - centre) * factor), steps).
struct PreparedRows {
  PreparedRows(int64_t n, const Execution& execution)
      : factors(n, stream_of(execution)), steps(n, stream_of(execution)) {}
  Scratch<double> factors;
  Scratch<uint8_t> steps;
};

// Of n rows, each with the centre of its cell; without `cells` all have the first centre. Rows
// whose cell is -1 are passed over. All arrays are the device's.
void prepare_residuals(const int16_t* codes, int64_t n, int64_t d, const int16_t* centres,
                       const int32_t* cells, const Clip& clip, const PreparedRows& out,
                       const Execution& execution);

}  // namespace cloister
