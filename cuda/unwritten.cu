// Kernels still to be written; this file goes away with the last of them.
#include "runtime.hpp"

namespace cloister {
void moments(const int16_t*, int64_t, int64_t, Partition, Clip, const int64_t*, Moment, int64_t*, Execution) { throw DeviceError("moments"); }
void bins(const int16_t*, int64_t, int64_t, Grid, const int64_t*, int64_t, int64_t*, Execution) { throw DeviceError("bins"); }
void gradient(const int16_t*, int64_t, int64_t, const int64_t*, int64_t, SoftmaxRegression, int64_t*, Execution) { throw DeviceError("gradient"); }
}
