// Kernels still to be written; this file goes away with the last of them.
#include "runtime.hpp"

namespace cloister {
void moments(const int16_t*, int64_t, int64_t, Partition, Clip, const int64_t*, Moment, int64_t*, Execution) { throw DeviceError("moments"); }
void bins(const int16_t*, int64_t, int64_t, Grid, const int64_t*, int64_t, int64_t*, Execution) { throw DeviceError("bins"); }
void gradient(const int16_t*, int64_t, int64_t, const int64_t*, int64_t, SoftmaxRegression, int64_t*, Execution) { throw DeviceError("gradient"); }
bool column_ranges(const float*, int64_t, int64_t, double*, float*, float*, Execution) { throw DeviceError("column_ranges"); }
void all_distances(const float*, int64_t, int64_t, const float*, const float*, int64_t, float*, Execution) { throw DeviceError("all_distances"); }
void closest(const float*, int64_t, int64_t, const float*, const double*, ScreenedRows, const int32_t*, const float*, int64_t, Closest, Execution) { throw DeviceError("closest"); }
}
