// Sums over lanes, and the last block of a group.
#pragma once

#include <cuda_runtime.h>

namespace spinecore::cuda {

inline constexpr unsigned all_lanes = 0xffffffffu;

// The sum over the lanes whose numbers differ in the bits [from, to), both powers of two; every lane gets it.
__device__ __forceinline__ float sum_lanes(float value, int from, int to) {
  for (int bit = from; bit < to; bit <<= 1) value += __shfl_xor_sync(all_lanes, value, bit);
  return value;
}

// Whether this is the last of `blocks` blocks to come here: all of them get their own answer, and the last one sees
// what the others wrote before. `ticket` is zero before the first comes.
__device__ inline bool is_last_block(unsigned* ticket, unsigned blocks) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(ticket, 1u) == blocks - 1;
    __threadfence();
  }
  __syncthreads();
  return last;
}

}  // namespace spinecore::cuda
