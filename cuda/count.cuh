// Counting by key.
#pragma once

#include "instructions.cuh"

namespace cloister {

// counts[key] += 1 for each lane with a key >= 0: one atomic operation for all lanes that share a
// key, as often all of them do. Returns what the lane's own would have. The whole warp takes part.
template <class Count, class Key>
__device__ __forceinline__ Count add_one(Count* counts, Key key) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const unsigned peers = __match_any_sync(whole_warp, key);
  const int leader = __ffs(static_cast<int>(peers)) - 1;
  Count before = 0;
  if (key >= 0 && lane == leader) {
    before = atomicAdd(counts + key, static_cast<Count>(__popc(peers)));
  }
  return __shfl_sync(whole_warp, before, leader) +
         static_cast<Count>(__popc(peers & ((1u << lane) - 1)));
}

}  // namespace cloister
