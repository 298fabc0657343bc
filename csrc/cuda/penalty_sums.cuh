// What the last kernels of the penalties share: sums over one block.
#pragma once

#include <cuda_runtime.h>

namespace spinecore::cuda {

inline constexpr int penalty_threads = 256;

// The sum over the threads of the block, in all of them. Ends with a barrier.
__device__ inline double sum_block(double value) {
  __shared__ double of_threads[penalty_threads];
  of_threads[threadIdx.x] = value;
  __syncthreads();
  double total = 0.0;
#pragma unroll 8
  for (int i = 0; i < penalty_threads; ++i) total += of_threads[i];
  __syncthreads();
  return total;
}

}  // namespace spinecore::cuda
