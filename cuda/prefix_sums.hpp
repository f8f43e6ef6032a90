// Where groups of rows start, from how many rows each has.
#pragma once

#include "runtime.hpp"

namespace cloister {

// starts[j] = sum over i < j of sizes[i], each rounded up to a multiple of `step`; count + 1 of
// them. Device arrays, both.
void prefix_sums(const int32_t* sizes, int64_t count, int32_t step, int64_t* starts,
                 const Execution& execution);

}  // namespace cloister
