// Rows of features over their norms (the orthogonality penalty), and the gradient through that.
#pragma once

#include "block_sums.cuh"
#include "column_statistics.cuh"

namespace spinecore::cuda {

inline constexpr int norm_threads = 256;
inline constexpr float norm_eps = 1e-6f;

// A warp for each row: its norm, and the weight 1 / (norm + eps).
template <class T>
__global__ void __launch_bounds__(norm_threads) norms_of_rows(Factor centred, float* norms, float* weights) {
  const int row = static_cast<int>((blockIdx.x * norm_threads + threadIdx.x) / 32);
  if (row >= centred.rows) return;  // the same for a whole warp
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float square = 0.0f;
#pragma unroll 2
  for (int column = lane * 4; column < centred.columns; column += 128) {
    float values[4];
    load_four<T>(centred, row, column, values);
#pragma unroll
    for (int e = 0; e < 4; ++e) square += values[e] * values[e];
  }
  const float norm = sqrtf(sum_lanes(square, 1, 32));
  if (lane == 0) {
    norms[row] = norm;
    weights[row] = 1.0f / (norm + norm_eps);
  }
}

// A warp for each row: how much of the gradient of the normalised row goes back along the row itself.
template <class T>
__global__ void __launch_bounds__(norm_threads)
    gradient_along_rows(Factor centred, Factor gradient, const float* norms, float* along) {
  const int row = static_cast<int>((blockIdx.x * norm_threads + threadIdx.x) / 32);
  if (row >= centred.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float product = 0.0f;
#pragma unroll 2
  for (int column = lane * 4; column < centred.columns; column += 128) {
    float values[4], grads[4];
    load_four<T>(centred, row, column, values);
    load_four<float>(gradient, row, column, grads);
#pragma unroll
    for (int e = 0; e < 4; ++e) product += values[e] * grads[e];
  }
  product = sum_lanes(product, 1, 32);
  if (lane == 0) {
    const float norm = norms[row], weight = 1.0f / (norm + norm_eps);
    along[row] = product * weight * weight / (norm == 0.0f ? 1.0f : norm);  // a zero row has no direction
  }
}

// The gradient of a row before it was divided by its norm, which is the weight of `gradient`.
template <class T>
__device__ __forceinline__ void before_norm(const Factor& centred, const Factor& gradient, const float* along, int row,
                                            int column, float (&result)[4]) {
  float values[4];
  load_four<T>(centred, row, column, values);
  load_four<float>(gradient, row, column, result);
  const float share = along[row];
#pragma unroll
  for (int e = 0; e < 4; ++e) result[e] -= values[e] * share;
}

// One block for 32 columns: their mean gradient first, then the gradient less it, which is that of the centring.
template <class T>
__global__ void __launch_bounds__(statistics_threads)
    write_centred_gradient(Factor centred, Factor gradient, const float* along, T* result, bool vectors) {
  __shared__ double sums[statistics_rows][statistics_pitch];
  __shared__ __align__(16) float mean[statistics_columns];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 8, group = thread / 8;
  const int strip = static_cast<int>(blockIdx.x) * statistics_columns, column = strip + lane * 4;
  double total[4] = {};
#pragma unroll 2
  for (int row = group; row < centred.rows; row += statistics_rows) {
    float values[4];
    before_norm<T>(centred, gradient, along, row, column, values);
#pragma unroll
    for (int e = 0; e < 4; ++e) total[e] += static_cast<double>(values[e]);
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) sums[group][e * 8 + lane] = total[e];
  __syncthreads();
  if (thread < statistics_columns) {
    double sum = 0.0;
#pragma unroll 1
    for (int g = 0; g < statistics_rows; ++g) sum += sums[g][thread % 4 * 8 + thread / 4];
    mean[thread] = static_cast<float>(sum * inverse(static_cast<double>(centred.rows)));
  }
  __syncthreads();
  if (column >= centred.columns) return;
  float own[4];
  read_four(mean + lane * 4, own);
#pragma unroll 2
  for (int row = group; row < centred.rows; row += statistics_rows) {
    float values[4];
    before_norm<T>(centred, gradient, along, row, column, values);
#pragma unroll
    for (int e = 0; e < 4; ++e) values[e] -= own[e];
    write_row(result, centred.columns, vectors, row, column, values);
  }
}

}  // namespace spinecore::cuda
