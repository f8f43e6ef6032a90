// The interface that every backend implements: plain structs and free functions, nothing else.
//
// Python has validated all arguments, owns every output and passes addresses; a kernel checks
// nothing, owns only scratch and throws only on device errors, lack of memory or interruption. All
// arrays are C-contiguous unless a stride is given. Integer sums wrap modulo 2^64.
//
// On a device (cuda/) arrays with an entry for each row, codes and labels among them, are device
// memory; public parameters and sums are the host's, on every backend.
#pragma once

#include <cstdint>
#include <new>
#include <stdexcept>

namespace cloister {

struct Execution {
  int64_t threads;        // number of host threads, at least 1
  std::uintptr_t stream;  // device stream; unused by the host
  // Asked by the calling thread between its chunks of work and on the way through long ones, every
  // 50 ms or less on a processor with vector instructions. Scratch of gigabytes, which many large
  // centres take, is given back before the kernel returns: some 0.1 s a gigabyte.
  bool (*interrupted)();
};

struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct OutOfDeviceMemory : std::bad_alloc {
  const char* what() const noexcept override { return "the device has too little free memory"; }
};

enum class Dtype : int64_t { float32 = 0, float64 = 1, float16 = 2, bfloat16 = 3 };

// How a vector v (a row, or a difference of integers) becomes an integer vector of norm <= bound:
//   norm = sqrt(sum v_i^2),  code_i = rint(v_i * (target / max(norm, radius)))
// in float64, with target = bound - sqrt(d)/2, so that rounding cannot leave the ball. Whatever the
// floats did, the integers are then checked: while sum code_i^2 > bound^2 every code moves one step
// towards zero (at most twice), and a vector that still fails becomes zero.
struct Clip {
  double radius;
  double target;
  int64_t bound;
};

// The public partition. Rows are sorted by class: class g owns rows offsets[g] .. offsets[g+1], and
// its centres are g*k .. g*k + k - 1. Rows outside all ranges contribute nothing.
// The cell of a row x of class g is  argmin_j (|c_j|^2 - 2 <x, c_j>)  over the class's centres, in
// exact int32 arithmetic (codes and centres have norm <= 2^14), ties to the smallest j.
struct Partition {
  const int16_t* centres;  // (classes * k, d)
  int64_t k;
  const int64_t* offsets;  // (classes + 1,)
  int64_t classes;
};

// codes[i] = Clip of row i. valid[i] = 0, and codes[i] = 0, if the row has a NaN, an infinity or a
// value beyond float32. Rows are converted to float32 first; the norm is a float64 sum of 16 lanes
// (lane l takes coordinates l, l+16, ...) folded by halves: 8, 4, 2, 1.
void encode(const void* rows, Dtype dtype, int64_t row_stride, int64_t n, int64_t d, Clip clip,
            int16_t* codes, uint8_t* valid, Execution execution);

// counts[j] = rows in cell j; sums[j] = sum of the codes in cell j or, with clip.bound > 0, of the
// Clip of (code - c_j), norm from an exact int64 sum. Adds to counts (cells,) and sums (cells, d).
// labels (n,), if given, receives the cell of each row: owner-side.
void tally(const int16_t* codes, int64_t n, int64_t d, Partition partition, Clip clip,
           int64_t* counts, int64_t* sums, int32_t* labels, Execution execution);

enum class Moment : int64_t { full = 0, diagonal = 1, trace = 2 };

// With r = Clip of (code - c_j) for a row of cell j, adds to out[group[j]]: the upper triangle of
// r r^T by rows (full: d(d+1)/2 entries), its diagonal (d) or its trace (1). clip.bound <= 2^11.
void moments(const int16_t* codes, int64_t n, int64_t d, Partition partition, Clip clip,
             const int64_t* group, Moment moment, int64_t* out, Execution execution);

// A public grid: axis a of a row is  min(max(floor((<code, p_a> - origin_a) / width_a), 0), cells_a
// - 1), and its bin is the mixed-radix number of its axes, the first axis most significant.
struct Grid {
  const int16_t* projections;  // (axes, d), norms <= 2^14
  const int64_t* origins;
  const int64_t* widths;
  const int64_t* cells;
  int64_t axes;
};

// Adds to counts (classes, product of cells) the number of rows in each bin, by class.
void bins(const int16_t* codes, int64_t n, int64_t d, Grid grid, const int64_t* offsets,
          int64_t classes, int64_t* counts, Execution execution);

// A public softmax regression of rows about a public centre. Of a row x of class g, with
//   a = row_clip of (x - centre),  z_j = scale * <a, w_j> + bias_j  (<a, w_j> exact),
//   e_j = exp(z_j - max z), but 0 where that difference is below -700,
//   p_j = e_j / (e_0 + e_1 + ..),  r_j = p_j - [j = g],  q = residual_clip of r,
// where exp(y) = 2^m t(u), m = rint(y log2(e)), u = (y - m l) - m l', l + l' = ln 2 in the parts of
// fdlibm's e_exp.c and t the Taylor polynomial of degree 11 by Horner's rule, right to 1e-14 of
// itself. All of it is float64, every product, sum, quotient and root rounded on its own, sums
// (that of r_j^2 too) in the order of the classes: a row's a and q are a pure function of that row.
struct SoftmaxRegression {
  const int16_t* centre;   // (d,), norm <= 2^14
  Clip row_clip;           // bound <= 2^11
  const int16_t* weights;  // (classes, d), norms <= 2^14: <a, w_j> fits int32
  double scale;
  const double* bias;  // (classes,)
  Clip residual_clip;  // bound <= 2^11
};

// Adds to out (classes, d) the sum of q a^T over the rows of all classes: the gradient of the
// log loss by the weights, with both factors clipped. offsets as in Partition.
void gradient(const int16_t* codes, int64_t n, int64_t d, const int64_t* offsets, int64_t classes,
              SoftmaxRegression model, int64_t* out, Execution execution);

// Owner-side and not private. With x = row - shift (null: no shift), in float32 throughout:
//   labels[i] = argmin_j D(x, c_j), ties to the smallest j,
//   D(x, c) = |x - c|^2 in 32 lanes (lane l takes coordinates l, l + 32, ...), each a chain of
//   fused
//             multiply-adds of the rounded differences, folded by halves: 16, 8, 4, 2, 1
// distances[i] = |x - c_label|^2 in float64: each difference, square and sum rounded, 8 lanes (lane
// l takes coordinates l, l+8, ...) folded by halves: 4, 2, 1.
// Adds to sums[label] rint(x * w * sum_scale), ties to even, each product rounded to float64, and
// to counts[label] rint(w * count_scale), with w = weights[i] (null: 1); the scales are powers of
// two, with |x * w| * sum_scale <= 2^50 and w * count_scale <= 2^50. With `updates`, labels, sums
// and counts are those of an earlier call with the same rows, and what was added for rows whose
// label changes is taken off again. *moved is the number of rows added. Every output may be null.
// All are the same bits for any number of threads and any instruction set, and a row's do not
// depend on the other rows.
struct Nearest {
  int32_t* labels;    // (n,)
  double* distances;  // (n,)
  int64_t* sums;      // (k, d)
  int64_t* counts;    // (k,)
  int64_t* moved;
  int64_t* recalled;  // rows that their list settled
  double sum_scale, count_scale;
  bool updates;
};

// Adds to sums[b] the rows of block b, range_rows of them, one after the other in float64; lowest
// and highest are the least and the largest of each column. Returns whether all values are finite;
// else the outputs mean nothing. Owner-side.
constexpr int64_t range_rows = 1024;
bool column_ranges(const float* rows, int64_t n, int64_t d, double* sums, float* lowest,
                   float* highest, Execution execution);

// Rows less the shift as int8 codes, x_i near scales[i] * (codes[i] - 128), which `nearest` uses to
// rule centres out: they change its speed, not its results.
struct ScreenedRows {
  uint8_t* codes;  // (n, d rounded up to a multiple of 64); 128 past the end of a row
  float* scales;   // (n,)
  float* norms;    // (n,) at least |x|
  float* errors;   // (n,) at least |x - scale * (code - 128)|
};
void screen_rows(const float* rows, int64_t n, int64_t d, const float* shift, ScreenedRows out,
                 Execution execution);
bool screens_by_codes(int64_t d, int64_t k);  // whether they pay on the instruction set in use

// What calls with the same rows, shift and codes keep for later ones (lists is null: nothing): for
// each row the centres near it, and a distance that no other centre was within. They change the
// speed of `nearest`, not its results.
constexpr int64_t longest_list = 32;
struct Neighbours {
  uint16_t* lists;  // (n, length)
  float* bounds;    // (n,)
  float* seconds;   // (n,) no centre but the first of the list was within this
  int16_t* calls;   // (n,) the call that made a row's list, -1: none
  int64_t length;   // at most longest_list
  int64_t call;     // this call, counted from 0
  // At least how far any centre but the movers has moved since each earlier call, (call,).
  const double* moved;
  const double* all_moved;  // and any centre at all
  const int32_t* mover;     // (movers,)
  int64_t movers;
  const uint8_t* is_mover;  // (k,)
  float* slack;             // how far lists reach, for a start: kept from call to call
  bool recalls;             // lists are used, with the labels of the call before
  bool builds;              // lists are made for the rows that need one
};

// screened: by screen_rows for these rows and this shift, or null.
void nearest(const float* rows, int64_t n, int64_t d, const float* shift, const double* weights,
             ScreenedRows screened, Neighbours neighbours, const float* centres, int64_t k,
             Nearest out, Execution execution);

// out[i, j] = <x - c_j, x - c_j> in float32: a chain of fused multiply-adds in coordinate order,
// restarted from zero every 256 coordinates, the partial sums added in order. Owner-side.
void all_distances(const float* rows, int64_t n, int64_t d, const float* shift,
                   const float* centres, int64_t k, float* out, Execution execution);

// Candidates for the next centre of k-means++ (owner-side). With D as in `nearest`, x = row - shift
// and w = weights[i] (null: 1), first takes in the candidate accepted last,
//   closest[i] = distances[i, accepted]  where bit `accepted` of improved[i] is set (accepted < 0:
//   nowhere), and then sets, for every candidate l < count <= most_candidates,
//   bit l of improved[i] = D(x, candidate l) < closest[i], and then distances[i, l] = D,
//   potentials[b, l] = sum over the rows i of block b, in order, of w min(closest[i], D(x, l)):
// each product and sum rounded to float64. A block has candidate_block rows, the last one the rest.
// All are the same bits for any number of threads and any instruction set.
constexpr int64_t candidate_block = 1024, most_candidates = 32;
struct Closest {
  float* closest;      // (n,)
  float* distances;    // (n, stride), of which only those that improve are written
  uint32_t* improved;  // (n,)
  double* potentials;  // (blocks, count)
  int64_t stride;      // at least count
  int64_t accepted;
};
// screened: as for nearest, and code_squares[i] = sum (screened.codes[i] - 128)^2; or both null.
void closest(const float* rows, int64_t n, int64_t d, const float* shift, const double* weights,
             ScreenedRows screened, const int32_t* code_squares, const float* candidates,
             int64_t count, Closest out, Execution execution);
void code_squares(const uint8_t* codes, int64_t n, int64_t d, int32_t* out, Execution execution);

// Row i of a mixture, for the rows first_row .. first_row + n of an endless sequence:
//   out[i] = means[c] + (sum_t z_t factors[f][t] + scales[f] * z_(rank + .)),  c = components[i],
//   f = covariance_of[c]
// in float32: the bracket is one chain of fused multiply-adds from zero, t in order, the scale
// last, and the mean is added to it; a bracket of -0 counts as +0, so that factors which are zero
// may be left out. scales may be null (then rank normals a row), rank may be 0.
// z_t is a standard normal, a function of (seed, first_row + i, t) alone, up to 6.764 in magnitude:
// of the outputs w of Philox4x32-10 with key seed and counter (row mod 2^32, row / 2^32, t / 4, 0),
// low words first, z_(4b) and z_(4b + 1) are sqrt(-2 ln u(w_0)) times the cosine and the sine of
// 2 pi u(w_1), and z_(4b + 2) and z_(4b + 3) the same of w_2 and w_3, u(w) = (w + 1/2) / 2^32, in
// the float32 steps of normal.inl.
struct Mixture {
  const float* means;            // (components, d)
  const float* factors;          // (covariances, rank, d)
  const float* scales;           // (covariances, d) or null
  const int64_t* covariance_of;  // (components,)
  int64_t rank;
};
void sample_mixture(uint64_t seed, int64_t first_row, int64_t n, int64_t d, Mixture mixture,
                    const int32_t* components, float* out, Execution execution);

// ---- of the host alone ----

// out[i] = round(sigma * g_i), g_i independent standard normal, sampled exactly; ties upwards.
// Bits come from ChaCha20 (RFC 8439) under key: block b of 4096 samples owns nonce (stream, b), so
// the output depends on neither target nor threads. Its words of counters 0 up start attempts, in
// order (rounded_gaussian.hpp); all digits drawn later are 16-bit halves, low one first, of those
// of counters 2^31 up. 0 < sigma < 2^52.
void noise(const uint8_t* key, uint32_t stream, double sigma, int64_t n, int64_t* out,
           Execution execution);

// One ChaCha20 block, for the test vectors of RFC 8439. key: 32 bytes, nonce: 12 bytes.
void chacha20_block(const uint8_t* key, uint32_t counter, const uint8_t* nonce, uint8_t* out);

// The first look of `noise` at words that start attempts, for a test: a verdict is 0 (rejected), 1
// (accepted) or 2 (left open). n is a multiple of 16.
void judge_attempts(const uint32_t* words, int64_t n, uint8_t* verdicts);

// Instruction sets: "generic", "avx2", "avx512". use_target returns false if the processor lacks
// it.
const char* target_name();
bool use_target(const char* name);
bool target_supported(const char* name);
int64_t device_count();  // devices of this backend: 1 for the host

}  // namespace cloister
