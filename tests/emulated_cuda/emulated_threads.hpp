// What a thread of the emulated device knows of itself, its warp and its block.
#pragma once

namespace emulated {

struct Thread {
  dim3 index;
  int number;  // within the block
};

struct Warp {
  static constexpr int widest = 64;  // bytes that a lane gives to a collective instruction
  uint64_t generation = 0;
  int lanes = 0, arrived = 0;
  alignas(16) unsigned char values[2][32][widest];
};

const Thread& thread();
Warp& warp();
void* dynamic_shared();
void block_barrier();
uint64_t warp_arrive();  // returns the generation of this collective; all lanes have arrived

// Every lane's value, after all lanes have come. Only whole warps take part: the mask is a promise.
template <class T>
struct Exchanged {
  const unsigned char (*values)[Warp::widest];
  T operator[](int lane) const {
    T value;
    std::memcpy(&value, values[lane], sizeof value);
    return value;
  }
};
template <class T>
Exchanged<T> exchange(T value) {
  static_assert(sizeof(T) <= Warp::widest);
  Warp& own = warp();
  std::memcpy(own.values[own.generation & 1][thread().number % 32], &value, sizeof value);
  return {own.values[warp_arrive() & 1]};
}

void copy_later(void* to, const void* from, int bytes, int source_bytes);
void commit_copies();
void wait_for_copies(int groups_left);

// Matrix fragments as the PTX manual lays them out.
void load_matrices(uint32_t* out, int count, const void* row);
void multiply_int8(int32_t (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void multiply_float16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

}  // namespace emulated

inline dim3 threadIdx, blockIdx, blockDim, gridDim;  // of the thread whose turn it is
constexpr int warpSize = 32;

inline void __syncthreads() { emulated::block_barrier(); }
inline void __syncwarp(unsigned = 0xffffffffu) { emulated::exchange(0); }
inline int __lane() { return emulated::thread().number % 32; }

template <class T>
T __shfl_sync(unsigned, T value, int lane, int width = 32) {
  const auto all = emulated::exchange(value);
  return all[__lane() / width * width + lane % width];
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
  return emulated::exchange(value)[__lane() ^ mask];
}
template <class T>
T __shfl_down_sync(unsigned, T value, int step, int width = 32) {
  const auto all = emulated::exchange(value);
  return __lane() % width + step < width ? all[__lane() + step] : value;
}
template <class T>
T __shfl_up_sync(unsigned, T value, int step, int width = 32) {
  const auto all = emulated::exchange(value);
  return __lane() % width >= step ? all[__lane() - step] : value;
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  const auto all = emulated::exchange(predicate);
  unsigned bits = 0;
  for (int lane = 0; lane < emulated::warp().lanes; ++lane)
    bits |= unsigned(all[lane] != 0) << lane;
  return bits;
}
template <class T>
unsigned __match_any_sync(unsigned, T value) {
  const auto all = emulated::exchange(value);
  unsigned bits = 0;
  for (int lane = 0; lane < emulated::warp().lanes; ++lane)
    bits |= unsigned(all[lane] == value) << lane;
  return bits;
}
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
template <class T, class Fold>
T __reduce_with(T value, Fold&& fold) {
  const auto all = emulated::exchange(value);
  T out = all[0];
  for (int lane = 1; lane < emulated::warp().lanes; ++lane) out = fold(out, all[lane]);
  return out;
}
template <class T>
T __reduce_add_sync(unsigned, T value) {
  return __reduce_with(value, [](T a, T b) { return T(unsigned(a) + unsigned(b)); });
}
template <class T>
T __reduce_min_sync(unsigned, T value) {
  return __reduce_with(value, [](T a, T b) { return a < b ? a : b; });
}
template <class T>
T __reduce_max_sync(unsigned, T value) {
  return __reduce_with(value, [](T a, T b) { return a < b ? b : a; });
}
inline int __syncthreads_count(int predicate) {
  static int count;  // of the block that runs
  __syncthreads();
  count = 0;
  __syncthreads();
  count += predicate != 0;
  __syncthreads();
  return count;
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0; }

// Threads take turns: what one does between two barriers is one step to the others.
template <class T, class Change>
T __atomic_change(T* place, Change&& change) {
  const T before = *place;
  *place = change(before);
  return before;
}
template <class T>
T atomicAdd(T* place, std::type_identity_t<T> value) {
  return __atomic_change(place, [&](T old) { return T(old + value); });
}
template <class T>
T atomicMin(T* place, std::type_identity_t<T> value) {
  return __atomic_change(place, [&](T old) { return old < value ? old : value; });
}
template <class T>
T atomicMax(T* place, std::type_identity_t<T> value) {
  return __atomic_change(place, [&](T old) { return old < value ? value : old; });
}
template <class T>
T atomicOr(T* place, std::type_identity_t<T> value) {
  return __atomic_change(place, [&](T old) { return T(old | value); });
}
template <class T>
T atomicExch(T* place, std::type_identity_t<T> value) {
  return __atomic_change(place, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* place, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return __atomic_change(place, [&](T old) { return old == expected ? value : old; });
}
