// The product of two matrices of int8 by the tensor cores, a tile of 128 x 128 a block.
#pragma once

#include "instructions.cuh"

namespace cloister {

constexpr int product_threads = 256, product_side = 128;
constexpr int step_bytes = 64,
              shared_pitch_bytes = 80;  // rows of 80 bytes: ldmatrix has no conflict
constexpr int product_stages = 3;
constexpr int operand_bytes = product_side * shared_pitch_bytes;
constexpr int product_shared_bytes = product_stages * 2 * operand_bytes;

// Rows of bytes on multiples of 16.
struct ByteMatrix {
  const int8_t* bytes;
  int64_t rows, pitch;
};

// What a thread has of a tile: 64 x 32 entries lie in each of 2 x 4 warps.
struct TileSums {
  int32_t values[4][4][4];

  // Modulo 2^32.
  __device__ __forceinline__ void multiply_by(uint32_t factor) {
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      int32_t& value = values[i / 16][i / 4 % 4][i % 4];
      value = static_cast<int32_t>(static_cast<uint32_t>(value) * factor);
    }
  }

  // Calls each(row of the tile, column of the tile, value).
  template <class Each>
  __device__ __forceinline__ void for_each(Each&& each) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          each(warp / 4 * 64 + m * 16 + lane / 4 + 8 * (i / 2),
               warp % 4 * 32 + n * 8 + 2 * (lane % 4) + i % 2, values[m][n][i]);
        }
      }
    }
  }
};

// Copies 64 bytes of each of 128 rows at a time, two pieces of 16 a thread.
class OperandCopy {
 public:
  // Of `rows` rows, at least one; others are zeros.
  __device__ __forceinline__ OperandCopy(const ByteMatrix& from, int first, int rows, int64_t begin)
      : bytes_{own_row() < rows ? 16 : 0, own_row() + half < rows ? 16 : 0},
        next_(from.bytes + int64_t{first + (bytes_[0] ? own_row() : 0)} * from.pitch + begin +
              own_byte()),
        to_second_(bytes_[1] ? half * from.pitch : 0) {}

  __device__ __forceinline__ void copy_next(int8_t* to) {
    to += own_row() * shared_pitch_bytes + own_byte();
    copy_later(to, next_, bytes_[0]);
    copy_later(to + half * shared_pitch_bytes, next_ + to_second_, bytes_[1]);
    next_ += step_bytes;
  }

 private:
  static constexpr int half = product_side / 2;
  __device__ __forceinline__ static int own_row() { return static_cast<int>(threadIdx.x) / 4; }
  __device__ __forceinline__ static int own_byte() {
    return static_cast<int>(threadIdx.x) % 4 * 16;
  }

  int bytes_[2];
  const int8_t* next_;
  int64_t to_second_;
};

class PlaneTileProduct {
 public:
  // Of the 128 rows of each operand from the given ones on; rows past the end count as zeros.
  __device__ __forceinline__ PlaneTileProduct(int64_t left_rows, int first_left, int64_t right_rows,
                                              int first_right, int8_t* shared)
      : first_left_(first_left),
        first_right_(first_right),
        left_rows_(static_cast<int>(min(left_rows - first_left, int64_t{product_side}))),
        right_rows_(static_cast<int>(min(right_rows - first_right, int64_t{product_side}))),
        shared_(shared) {}

  // sums += left right^T over the bytes begin .. end of their rows, whose number is a multiple of
  // 64, modulo 2^32. All threads of the block take part.
  __device__ __forceinline__ void add(const ByteMatrix& left, const ByteMatrix& right,
                                      int64_t begin, int64_t end, TileSums& sums) const {
    const int steps = static_cast<int>((end - begin) / step_bytes);
    OperandCopy left_copy(left, first_left_, left_rows_, begin);
    OperandCopy right_copy(right, first_right_, right_rows_, begin);
    auto load = [&](int step) {
      if (step < steps) {
        left_copy.copy_next(operand(step % product_stages, 0));
        right_copy.copy_next(operand(step % product_stages, 1));
      }
      commit_copies();
    };
#pragma unroll
    for (int step = 0; step < product_stages - 1; ++step) load(step);
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      wait_for_copies<product_stages - 2>();
      __syncthreads();  // the step has come, and the one whose place the next takes is done
      load(step + product_stages - 1);
      multiply(step % product_stages, sums);
    }
    __syncthreads();
  }

 private:
  __device__ __forceinline__ int8_t* operand(int stage, int which) const {
    return shared_ + (2 * stage + which) * operand_bytes;
  }

  __device__ __forceinline__ void multiply(int stage, TileSums& sums) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int top = warp / 4 * 64, start = warp % 4 * 32;
    if (top >= left_rows_ || start >= right_rows_) return;
    const int matrix = lane / 8, row = lane % 8;
    const int8_t* left =
        operand(stage, 0) + (top + matrix % 2 * 8 + row) * shared_pitch_bytes + matrix / 2 * 16;
    const int8_t* right =
        operand(stage, 1) + (start + matrix / 2 * 8 + row) * shared_pitch_bytes + matrix % 2 * 16;
#pragma unroll
    for (int at = 0; at < step_bytes; at += 32) {
      uint32_t b[4][2];
#pragma unroll
      for (int n = 0; n < 4; n += 2) {
        uint32_t two[4];
        load_matrices(two, right + n * 8 * shared_pitch_bytes + at);
        b[n][0] = two[0], b[n][1] = two[1], b[n + 1][0] = two[2], b[n + 1][1] = two[3];
      }
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        uint32_t a[4];
        load_matrices(a, left + m * 16 * shared_pitch_bytes + at);
#pragma unroll
        for (int n = 0; n < 4; ++n) multiply_int8(sums.values[m][n], a, b[n]);
      }
    }
  }

  int first_left_, first_right_;
  int left_rows_, right_rows_;
  int8_t* shared_;
};

}  // namespace cloister
