// Means of the columns of a batch of features, in double; with all rows in one block, variances as well.
#pragma once

#include "block_sums.cuh"
#include "factor.cuh"

namespace spinecore::cuda {

inline constexpr int statistics_threads = 256, statistics_pitch = statistics_columns + 8;

struct ColumnSums {
  double values[statistics_rows][statistics_pitch];
  double counts[statistics_rows];
};

// Sums over the thread's rows of values, or of the squares of their distance from `mean`; the block's total goes to
// total[0, columns), the number of rows that count to total[columns]. Ends with a barrier.
template <class T, bool squares>
__device__ __forceinline__ void sum_rows(const Factor& f, int column, int first, int last, const float* mean,
                                         const float* low, ColumnSums& shared, double* total) {
  const int lane = static_cast<int>(threadIdx.x) % 8, group = static_cast<int>(threadIdx.x) / 8;
  double sums[4] = {}, count = 0.0;
#pragma unroll 2
  for (int row = first + group; row < last; row += statistics_rows) {
    float values[4];
    load_four<T>(f, row, column + lane * 4, values);
    const bool counts = f.weights == nullptr || f.weights[row] != 0.0f;
    count += counts ? 1.0 : 0.0;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float value = values[e];
      if (squares) {
        value = counts ? (value - mean[lane * 4 + e]) - low[lane * 4 + e] : 0.0f;
        value *= value;
      }
      sums[e] += static_cast<double>(value);
    }
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) shared.values[group][e * 8 + lane] = sums[e];
  if (lane == 0) shared.counts[group] = count;
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread <= statistics_columns) {
    double sum = 0.0;
#pragma unroll 1
    for (int g = 0; g < statistics_rows; ++g) {
      sum += thread < statistics_columns ? shared.values[g][thread % 4 * 8 + thread / 4] : shared.counts[g];
    }
    total[thread] = sum;
  }
  __syncthreads();
}

// 1 / count, by Newton's method: a division in double calls a routine that costs registers.
__device__ __forceinline__ double inverse(double count) {
  auto guess = static_cast<double>(1.0f / static_cast<float>(count));
#pragma unroll
  for (int i = 0; i < 2; ++i) guess *= 2.0 - count * guess;
  return guess;
}

template <class T>
__global__ void __launch_bounds__(statistics_threads)
    sum_columns_of_features(Factor f, StatisticsPlan plan, float* mean, float* mean_low, float* variance,
                            float* divisor, float* workspace) {
  __shared__ ColumnSums sums;
  __shared__ double total[statistics_columns + 1];
  __shared__ float own_mean[statistics_columns], own_low[statistics_columns];
  const int strip = static_cast<int>(blockIdx.x) / plan.chunks, chunk = static_cast<int>(blockIdx.x) % plan.chunks;
  const int column = strip * statistics_columns, thread = static_cast<int>(threadIdx.x);
  const int first = chunk * plan.chunk_rows, last = min(first + plan.chunk_rows, f.rows);
  sum_rows<T, false>(f, column, first, last, nullptr, nullptr, sums, total);
  if (plan.chunks > 1) {
    constexpr int size = statistics_columns + 2;
    double* partials = reinterpret_cast<double*>(workspace + plan.tickets) + int64_t{strip} * plan.chunks * size;
    if (thread <= statistics_columns) partials[int64_t{chunk} * size + thread] = total[thread];
    if (!is_last_block(reinterpret_cast<unsigned*>(workspace) + strip, static_cast<unsigned>(plan.chunks))) return;
    if (thread <= statistics_columns) {
      double sum = 0.0;
#pragma unroll 1
      for (int other = 0; other < plan.chunks; ++other) sum += partials[int64_t{other} * size + thread];
      total[thread] = sum;
    }
    __syncthreads();
  }
  const double count = total[statistics_columns];
  const double ones = count > 2.0 ? count - 1.0 : 1.0;
  const bool inside = thread < statistics_columns && column + thread < f.columns;
  if (thread < statistics_columns) {
    const double exact = total[thread] * inverse(count > 1.0 ? count : 1.0);
    own_mean[thread] = static_cast<float>(exact);
    own_low[thread] = static_cast<float>(exact - static_cast<double>(own_mean[thread]));
    if (inside) {
      mean[column + thread] = own_mean[thread];
      mean_low[column + thread] = own_low[thread];
    }
  }
  if (strip == 0 && thread == 0) *divisor = static_cast<float>(ones);
  if (variance == nullptr) return;  // else there is one chunk
  __syncthreads();
  sum_rows<T, true>(f, column, first, last, own_mean, own_low, sums, total);
  if (inside) variance[column + thread] = static_cast<float>(total[thread] * inverse(ones));
}

}  // namespace spinecore::cuda
