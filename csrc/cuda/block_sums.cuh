// Sums over lanes, over the rows and columns of small matrices, and the last block of a group.
#pragma once

#include <cuda_runtime.h>

namespace spinecore::cuda {

inline constexpr unsigned all_lanes = 0xffffffffu;

// The sum over the lanes whose numbers differ in the bits [from, to), both powers of two; every lane gets it.
__device__ __forceinline__ float sum_lanes(float value, int from, int to) {
  for (int bit = from; bit < to; bit <<= 1) value += __shfl_xor_sync(all_lanes, value, bit);
  return value;
}

// result[column] = sum over rows of weights[row] * matrix[row * stride + column]; without weights where they are null.
// By all threads of the block, in an order that the sizes alone decide; `scratch` has one float a thread. Ends with a
// barrier.
__device__ inline void sum_columns(const float* matrix, int rows, int columns, int64_t stride, const float* weights,
                                   float* scratch, float* result) {
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  // Where columns are few, the threads form groups that take every groups-th row each.
  const int wide = min(columns, threads), groups = threads / wide, group = thread / wide;
#pragma unroll 1
  for (int first = 0; first < columns; first += wide) {
    const int column = first + thread - group * wide;
    float sum = 0.0f;
    if (group < groups && column < columns) {
#pragma unroll 8
      for (int row = group; row < rows; row += groups) {
        const float value = matrix[row * stride + column];
        sum += weights != nullptr ? weights[row] * value : value;
      }
    }
    scratch[thread] = sum;
    __syncthreads();
    if (thread < wide && first + thread < columns) {
#pragma unroll 1
      for (int other = 1; other < groups; ++other) sum += scratch[other * wide + thread];
      result[first + thread] = sum;
    }
    __syncthreads();
  }
}

// The dot product of one row with `vector` (shared memory), by one warp; every lane gets it.
__device__ __forceinline__ float dot_row(const float* row, const float* vector, int columns) {
  float sum = 0.0f;
#pragma unroll 4
  for (int column = static_cast<int>(threadIdx.x) % 32; column < columns; column += 32) {
    sum += row[column] * vector[column];
  }
  return sum_lanes(sum, 1, 32);
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
