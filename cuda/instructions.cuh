// Instructions that CUDA C++ has no name for. Off the device (tests/emulated_cuda) they are
// functions with the same meaning.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace cloister {

constexpr unsigned whole_warp = 0xffffffffu;

#ifdef __CUDACC__

// How much a step of a long kernel does. Off the device a step is small, so that tests take many.
constexpr int64_t step_work(int64_t work) { return work; }

// The block's dynamic shared memory, on a multiple of 128 bytes.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes);
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Copies 16 bytes to shared memory, or source_bytes (0 .. 16) of them and zeros after; they are
// there once a later wait_for_copies and a barrier have passed. Both addresses are multiples of 16.
__device__ __forceinline__ void copy_later(void* shared, const void* global, int source_bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(source_bytes)
               : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;"); }

// Waits until at most `groups` of this thread's committed groups are still on their way.
template <int groups>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}

// Four 8 x 16-byte matrices: lane 8m + r gives the address of row r of matrix m, in shared memory
// and on a multiple of 16; lane l receives bytes 4 (l % 4) .. + 3 of row l / 4 of each.
__device__ __forceinline__ void load_matrices(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row)));
}

// sums (16 x 8) += a (16 rows of 32 bytes) times b (8 columns of 32 bytes), in the fragments of
// the PTX manual: 32 int8 each with exact int32 sums, or 16 float16 each with float32 sums.
__device__ __forceinline__ void multiply_int8(int32_t (&sums)[4], const uint32_t (&a)[4],
                                              const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void multiply_float16(float (&sums)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

constexpr int64_t step_work(int64_t work) { return work >> 20; }
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulated::dynamic_shared());
}
inline void copy_later(void* shared, const void* global, int source_bytes) {
  emulated::copy_later(shared, global, 16, source_bytes);
}
inline void commit_copies() { emulated::commit_copies(); }
template <int groups>
void wait_for_copies() {
  emulated::wait_for_copies(groups);
}
inline void load_matrices(uint32_t (&out)[4], const void* row) {
  emulated::load_matrices(out, 4, row);
}
inline void multiply_int8(int32_t (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulated::multiply_int8(sums, a, b);
}
inline void multiply_float16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulated::multiply_float16(sums, a, b);
}

#endif

}  // namespace cloister
