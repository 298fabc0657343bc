// Second launch of scSE: one read and one write. y = x * gate, or dx = dy * gate + d_spatial * ws + d_pooled; the last
// blocks of the backward sum the gradients of the parameters over the samples.
#pragma once

#include "scse_gate_gates.cuh"
#include "vectors.cuh"

namespace spinecore::cuda {

inline constexpr int rows_a_thread = 8;

// One element a thread: dw1 (hidden, C), dw2 (C, hidden), db1, db2, dws, dbs one after another.
__device__ inline void parameter_gradients(const GateArguments& a, int64_t index) {
  const int channels = a.plan.channels, hidden = a.plan.hidden;
  const int64_t product = static_cast<int64_t>(channels) * hidden;
  float sum = 0.0f;
  if (index < product) {
    const int j = static_cast<int>(index) / channels, c = static_cast<int>(index) % channels;
#pragma unroll 1
    for (int64_t n = 0; n < a.plan.batch; ++n) sum += a.d_hidden(n)[j] * a.pooled[n * channels + c];
    a.dw1[index] = sum;
  } else if ((index -= product) < product) {
    const int c = static_cast<int>(index) / hidden, j = static_cast<int>(index) % hidden;
#pragma unroll 1
    for (int64_t n = 0; n < a.plan.batch; ++n) sum += a.d_excite(n)[c] * a.hidden(n)[j];
    a.dw2[index] = sum;
  } else if ((index -= product) < hidden) {
#pragma unroll 1
    for (int64_t n = 0; n < a.plan.batch; ++n) sum += a.d_hidden(n)[index];
    a.db1[index] = sum;
  } else if ((index -= hidden) < channels) {
#pragma unroll 1
    for (int64_t n = 0; n < a.plan.batch; ++n) sum += a.d_excite(n)[index];
    a.db2[index] = sum;
  } else if ((index -= channels) <= channels) {
#pragma unroll 1
    for (int64_t n = 0; n < a.plan.batch; ++n) sum += a.d_weights(n)[index];
    *(index < channels ? a.dws + index : a.dbs) = sum;
  }
}

// How a block of the second launch lies over one sample: `across` threads side by side along the contiguous dimension,
// the others on rows below; each thread does so many rows, so that what belongs to its columns is read once.
struct ApplyShape {
  int vectors, rows;       // of one sample: accesses of a row; channels (NCHW) or pixels (channels-last)
  int across;              // a power of two
  int columns, row_tiles;  // blocks of one sample

  __host__ __device__ int rows_a_block() const { return gate_threads / across * rows_a_thread; }
};

// width: elements of one access, 16 bytes of them or one.
template <class T, int width, bool backward>
__global__ void __launch_bounds__(gate_threads) apply_gates(GateArguments a, ApplyShape shape) {
  const ScseGatePlan& plan = a.plan;
  const int thread = static_cast<int>(threadIdx.x);
  const unsigned blocks_a_sample = static_cast<unsigned>(shape.columns * shape.row_tiles);
  const int64_t sample = blockIdx.x / blocks_a_sample;
  if (backward && sample >= plan.batch) {
    const int64_t extra = blockIdx.x - plan.batch * blocks_a_sample;
    parameter_gradients(a, extra * gate_threads + thread);
    return;
  }
  const int block = static_cast<int>(blockIdx.x % blocks_a_sample);
  const int vector = block % shape.columns * shape.across + thread % shape.across;
  if (vector >= shape.vectors) return;
  const int64_t origin = sample * shape.rows * shape.vectors * width;
  const T* from = static_cast<const T*>(backward ? a.dy : a.x) + origin;
  T* to = static_cast<T*>(a.result) + origin;
  const float* channel_gate = a.channel_gate + sample * plan.channels;
  const float* spatial_gate = a.spatial_gate + sample * plan.pixels;
  // Of what depends on the channel and what on the pixel, one is a vector of this thread's columns, the other a number
  // of the row: dx = dy * gate + d_spatial[pixel] * ws[channel] + d_pooled[channel].
  float gates[width], scores[width] = {}, means[width] = {};
  load_floats<width>((plan.channels_last ? channel_gate : spatial_gate) + vector * width, gates);
  if constexpr (backward) {
    load_floats<width>((plan.channels_last ? a.parameters.ws : a.d_spatial(sample)) + vector * width, scores);
    if (plan.channels_last) load_floats<width>(a.d_pooled(sample) + vector * width, means);
  }
  const int first = block / shape.columns * shape.rows_a_block() + thread / shape.across;
#pragma unroll 4
  for (int i = 0; i < rows_a_thread; ++i) {
    const int row = first + i * (gate_threads / shape.across);
    if (row >= shape.rows) break;
    const int64_t at = (static_cast<int64_t>(row) * shape.vectors + vector) * width;
    float values[width];
    load_elements<width>(from + at, values);
    const float gate = (plan.channels_last ? spatial_gate : channel_gate)[row];
    float score = 0.0f, mean = 0.0f;
    if constexpr (backward) {
      score = (plan.channels_last ? a.d_spatial(sample) : a.parameters.ws)[row];
      if (!plan.channels_last) mean = a.d_pooled(sample)[row];
    }
#pragma unroll
    for (int e = 0; e < width; ++e) {
      values[e] *= plan.channels_last ? mix_gates(gates[e], gate, a.max_mode) : mix_gates(gate, gates[e], a.max_mode);
      if (backward) values[e] += scores[e] * score + (means[e] + mean);
    }
    store_elements<width>(to + at, values);
  }
}

}  // namespace spinecore::cuda
