// A warp copies a row, in the widest units that its length and both addresses allow.
#include "gather.hpp"

namespace cloister {
namespace {

constexpr int lanes = 32, block_threads = 256, rows_of_block = block_threads / lanes;
constexpr int64_t step_bytes = int64_t{1} << 30;  // some milliseconds
constexpr int64_t step_rows = int64_t{1} << 22;   // 32 MiB of indices

template <class Unit>
__global__ void __launch_bounds__(block_threads)
    gather_rows(const Unit* from, const int64_t* indices, int64_t count, int64_t units, Unit* to) {
  const int64_t row = int64_t{blockIdx.x} * rows_of_block + threadIdx.x / lanes;
  if (row >= count) return;
  const Unit* source = from + indices[row] * units;
  Unit* target = to + row * units;
  for (int64_t j = threadIdx.x % lanes; j < units; j += lanes) target[j] = source[j];
}

template <class Unit>
void gather_all(const void* from, const int64_t* indices, int64_t count, int64_t row_bytes,
                void* to, const Execution& execution) {
  const int64_t units = row_bytes / static_cast<int64_t>(sizeof(Unit));
  const int64_t step = std::clamp(step_bytes / row_bytes, int64_t{1}, step_rows);
  const Scratch<int64_t> copies(std::min(step, count), stream_of(execution));
  for (int64_t first = 0; first < count; first += step) {
    const int64_t here = std::min(step, count - first);
    check(cudaMemcpyAsync(copies.data(), indices + first, static_cast<size_t>(here) * 8,
                          cudaMemcpyHostToDevice, stream_of(execution)));
    launch(gather_rows<Unit>, {divide_up(here, rows_of_block)}, block_threads, 0, execution,
           static_cast<const Unit*>(from), static_cast<const int64_t*>(copies.data()), here, units,
           static_cast<Unit*>(to) + first * units);
    wait(execution);  // the next step's indices overwrite these
  }
}

}  // namespace

void gather(const void* from, const int64_t* indices, int64_t count, int64_t row_bytes, void* to,
            Execution execution) {
  if (count == 0 || row_bytes == 0) return;
  const std::uintptr_t all = reinterpret_cast<std::uintptr_t>(from) |
                             reinterpret_cast<std::uintptr_t>(to) |
                             static_cast<std::uintptr_t>(row_bytes);
  if (all % 16 == 0) {
    gather_all<uint4>(from, indices, count, row_bytes, to, execution);
  } else if (all % 4 == 0) {
    gather_all<uint32_t>(from, indices, count, row_bytes, to, execution);
  } else if (all % 2 == 0) {
    gather_all<uint16_t>(from, indices, count, row_bytes, to, execution);
  } else {
    gather_all<uint8_t>(from, indices, count, row_bytes, to, execution);
  }
}

}  // namespace cloister
