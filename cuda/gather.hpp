// Rows of an array by their indices.
#pragma once

#include "runtime.hpp"

namespace cloister {

// to[i] = from[indices[i]] for rows of row_bytes; `from` and `to` are device memory, `indices` the
// host's, and those the caller has checked.
void gather(const void* from, const int64_t* indices, int64_t count, int64_t row_bytes, void* to,
            Execution execution);

}  // namespace cloister
