#include "parallel.hpp"
#include "targets.hpp"

namespace cloister {

void encode(const void* rows, Dtype dtype, int64_t row_stride, int64_t n, int64_t d, Clip clip,
            int16_t* codes, uint8_t* valid, Execution execution) {
  const int64_t chunk = std::max<int64_t>(1, (int64_t{1} << 18) / d);
  parallel_for(n, chunk, execution, [&](int64_t begin, int64_t end, int64_t) {
    targets().encode_rows(rows, dtype, row_stride, begin, end, d, clip, codes, valid);
  });
}

}  // namespace cloister
