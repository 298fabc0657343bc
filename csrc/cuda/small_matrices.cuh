// Products of small matrices with vectors.
#pragma once

#include "block_sums.cuh"

namespace spinecore::cuda {

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

}  // namespace spinecore::cuda
