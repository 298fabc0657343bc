// The gates of scSE: how they mix, and the small network of the channel gate, forward and backward, of one sample.
#pragma once

#include "small_matrices.cuh"
#include "spinecore/cuda/scse_gate.h"

namespace spinecore::cuda {

inline constexpr int gate_threads = 256;

// Everything both launches of either direction need; what a direction does not use is null.
struct GateArguments {
  ScseGatePlan plan;
  bool max_mode;
  ScseGateParameters parameters;
  const float* bs;
  const void *x, *dy;
  void* result;                                 // y or dx
  float *channel_gate, *spatial_gate, *pooled;  // written by the forward, read by the backward
  float *dw1, *db1, *dw2, *db2, *dws, *dbs;
  float* workspace;

  // Of a sample, and of its groups after it.
  __device__ unsigned* ticket(int64_t sample) const {
    return reinterpret_cast<unsigned*>(workspace) + sample * (plan.groups + 1);
  }
  // Of one chunk: C sums for the channel gate; backward also C of dws and one of dbs.
  __host__ __device__ int sums_size() const { return plan.backward ? 2 * plan.channels + 1 : plan.channels; }
  __device__ float* sums(int64_t sample, int chunk) const {
    return workspace + plan.sums_at + (sample * plan.chunks + chunk) * sums_size();
  }
  __device__ float* d_spatial(int64_t sample) const { return workspace + plan.d_spatial_at + sample * plan.pixels; }
  // Of one sample, for the second launch of the backward.
  __host__ __device__ static int sample_size(const ScseGatePlan& p) {
    return (3 * p.channels + 2 * p.hidden + 1 + 3) / 4 * 4;
  }
  __device__ float* sample(int64_t index) const { return workspace + plan.samples_at + index * sample_size(plan); }
  __device__ float* d_pooled(int64_t index) const { return sample(index); }
  __device__ float* d_excite(int64_t index) const { return sample(index) + plan.channels; }
  __device__ float* d_weights(int64_t index) const { return sample(index) + 2 * plan.channels; }  // dws, dbs
  __device__ float* hidden(int64_t index) const { return sample(index) + 3 * plan.channels + 1; }
  __device__ float* d_hidden(int64_t index) const { return hidden(index) + plan.hidden; }
};

// An absent bias is null.
__device__ __forceinline__ float bias(const float* biases, int index) {
  return biases != nullptr ? biases[index] : 0.0f;
}

__device__ __forceinline__ float sigmoid(float value) { return 1.0f / (1.0f + expf(-value)); }

// A NaN of either gate stays one, as in torch.maximum.
__device__ __forceinline__ float mix_gates(float channel, float spatial, bool max_mode) {
  if (!max_mode) return channel + spatial;
  return channel > spatial || channel != channel ? channel : spatial;
}

// The part of the gradient that goes to the channel gate; the rest goes to the spatial one. Equal gates share.
__device__ __forceinline__ float channel_share(float channel, float spatial) {
  return channel > spatial ? 1.0f : channel == spatial ? 0.5f : 0.0f;
}

// relu(w1 pooled + b1) into shared memory, one warp a row. Ends with a barrier.
__device__ inline void hidden_layer(const GateArguments& a, const float* pooled, float* hidden) {
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int row = static_cast<int>(threadIdx.x) / 32; row < a.plan.hidden; row += warps) {
    const float sum = dot_row(a.parameters.w1 + static_cast<int64_t>(row) * a.plan.channels, pooled, a.plan.channels);
    if (threadIdx.x % 32 == 0) hidden[row] = fmaxf(sum + bias(a.parameters.b1, row), 0.0f);
  }
  __syncthreads();
}

// Floats of shared memory that the network of a sample works in.
template <int channels, bool backward>
inline constexpr int network_memory =
    (backward ? 2 * channels + 1 : channels) + (backward ? 2 : 1) * scse_gate_most_hidden + gate_threads;

// Means and channel gate of one sample, from the sums of its groups.
__device__ inline void excite(const GateArguments& a, int64_t sample, float* memory) {
  const int channels = a.plan.channels, thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  float *pooled = memory, *hidden = pooled + channels, *scratch = hidden + a.plan.hidden;
  sum_columns(a.sums(sample, 0), a.plan.groups, channels, int64_t{scse_gate_group_chunks} * channels, nullptr, scratch,
              pooled);
  const float pixels = static_cast<float>(a.plan.pixels);
  for (int c = thread; c < channels; c += threads) {
    pooled[c] /= pixels;
    a.pooled[sample * channels + c] = pooled[c];
  }
  __syncthreads();
  hidden_layer(a, pooled, hidden);
  for (int c = thread / 32; c < channels; c += threads / 32) {
    const float sum = dot_row(a.parameters.w2 + static_cast<int64_t>(c) * a.plan.hidden, hidden, a.plan.hidden);
    if (thread % 32 == 0) a.channel_gate[sample * channels + c] = sigmoid(sum + bias(a.parameters.b2, c));
  }
}

// The gradient through the channel gate of one sample, from the sums of its groups.
__device__ inline void excite_backward(const GateArguments& a, int64_t sample, float* memory) {
  const int channels = a.plan.channels, hidden_size = a.plan.hidden, size = a.sums_size();
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  float *totals = memory, *hidden = totals + size, *d_hidden = hidden + hidden_size, *scratch = d_hidden + hidden_size;
  hidden_layer(a, a.pooled + sample * channels, hidden);
  sum_columns(a.sums(sample, 0), a.plan.groups, size, int64_t{scse_gate_group_chunks} * size, nullptr, scratch, totals);
  for (int i = thread; i <= channels; i += threads) a.d_weights(sample)[i] = totals[channels + i];
  for (int c = thread; c < channels; c += threads) {
    const float gate = a.channel_gate[sample * channels + c];
    totals[c] *= gate * (1.0f - gate);
    a.d_excite(sample)[c] = totals[c];
  }
  __syncthreads();
  sum_columns(a.parameters.w2, channels, hidden_size, hidden_size, totals, scratch, d_hidden);
  for (int j = thread; j < hidden_size; j += threads) {
    if (!(hidden[j] > 0.0f)) d_hidden[j] = 0.0f;
    a.hidden(sample)[j] = hidden[j];
    a.d_hidden(sample)[j] = d_hidden[j];
  }
  __syncthreads();
  sum_columns(a.parameters.w1, hidden_size, channels, channels, d_hidden, scratch, totals);
  const float pixels = static_cast<float>(a.plan.pixels);
  for (int c = thread; c < channels; c += threads) a.d_pooled(sample)[c] = totals[c] / pixels;
}

// Called by every block when the sums of its chunk are written: the last block of a group adds them up, the last group
// of a sample computes its network.
template <bool backward>
__device__ inline void finish_chunk(const GateArguments& a, int64_t sample, int chunk, float* memory) {
  const int group = chunk / scse_gate_group_chunks, first = group * scse_gate_group_chunks;
  const int count = min(scse_gate_group_chunks, a.plan.chunks - first), size = a.sums_size();
  if (!is_last_block(a.ticket(sample) + 1 + group, static_cast<unsigned>(count))) return;
  float* sums = a.sums(sample, first);
  for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
    float sum = sums[i];
#pragma unroll 8
    for (int row = 1; row < count; ++row) sum += sums[row * size + i];
    sums[i] = sum;
  }
  if (!is_last_block(a.ticket(sample), static_cast<unsigned>(a.plan.groups))) return;
  if constexpr (backward) {
    excite_backward(a, sample, memory);
  } else {
    excite(a, sample, memory);
  }
}

}  // namespace spinecore::cuda
