#include "nearest_scratch.hpp"

namespace cloister {
namespace {

// Products of one chunk, some milliseconds of them with vector instructions.
constexpr int64_t chunk_products = int64_t{1} << 25;

int64_t rows_a_chunk(int64_t n, int64_t products, const Execution& execution) {
  const int64_t blocks = (n + candidate_block - 1) / candidate_block;
  const int64_t share = std::max<int64_t>(1, blocks / (4 * execution.threads));
  const int64_t most = std::max<int64_t>(1, chunk_products / (candidate_block * products));
  return std::min(share, most) * candidate_block;
}

}  // namespace

void closest(const float* rows, int64_t n, int64_t d, const float* shift, const double* weights,
             ScreenedRows screened, const int32_t* code_squares, const float* candidates,
             int64_t count, Closest out, Execution execution) {
  const std::vector<float> zeros(shift ? 0 : static_cast<size_t>(d));
  ClosestTask task{};
  task.near = {rows, d, shift ? shift : zeros.data(), weights, candidates, count, screened, {}};
  task.code_squares = code_squares;
  task.out = out;
  const int64_t size = count * padded_codes(d);
  const AlignedBuffer<int8_t> codes(2 * size);
  const AlignedBuffer<int32_t> offsets(2 * count);
  const AlignedBuffer<float> numbers(6 * count);
  CandidateCodes& view = task.candidates;
  view.codes = codes.data();
  view.fine_codes = codes.data() + size;
  view.offsets = offsets.data();
  view.fine_offsets = offsets.data() + count;
  float* next = numbers.data();
  for (float** array : {&view.scales, &view.fine_scales, &view.errors, &view.fine_errors,
                        &view.half_squares, &view.fine_half_squares}) {
    *array = next;
    next += count;
  }
  if (screened.codes) targets().encode_candidates(task);
  parallel_for(n, rows_a_chunk(n, d * count, execution), execution,
               [&](int64_t from, int64_t to, int64_t, Checkpoint& checkpoint) {
                 for (int64_t begin = from; begin < to; begin += candidate_block) {
                   targets().closest_rows(task, begin, std::min(begin + candidate_block, to),
                                          checkpoint);
                 }
               });
}

void code_squares(const uint8_t* codes, int64_t n, int64_t d, int32_t* out, Execution execution) {
  parallel_for(n, rows_a_chunk(n, d, execution), execution,
               [&](int64_t begin, int64_t end, int64_t) {
                 targets().square_codes(codes, d, begin, end, out);
               });
}

}  // namespace cloister
