// Second launch of scSE: one read and one write. y = x * gate, or dx = dy * gate + d_spatial * ws + d_pooled; the last
// blocks of the backward sum the gradients of the parameters over the samples.
#pragma once

#include "scse_gate_gates.cuh"
#include "vectors.cuh"

namespace spinecore::cuda {

inline constexpr int vectors_a_thread = 4;

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

// width: elements of one access, 16 bytes of them or one.
template <class T, int width, bool backward>
__global__ void __launch_bounds__(gate_threads) apply_gates(GateArguments a, int blocks_a_sample) {
  const ScseGatePlan& plan = a.plan;
  const int channels = plan.channels, pixels = plan.pixels, thread = static_cast<int>(threadIdx.x);
  const int64_t sample = blockIdx.x / static_cast<unsigned>(blocks_a_sample);
  const int block = static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks_a_sample));
  if (backward && sample >= plan.batch) {
    const int64_t extra = blockIdx.x - plan.batch * blocks_a_sample;
    parameter_gradients(a, extra * gate_threads + thread);
    return;
  }
  const int64_t origin = sample * channels * pixels;
  const T* from = static_cast<const T*>(backward ? a.dy : a.x) + origin;
  T* to = static_cast<T*>(a.result) + origin;
  const float *channel_gate = a.channel_gate + sample * channels, *spatial_gate = a.spatial_gate + sample * pixels;
  const int rows = (plan.channels_last ? channels : pixels) / width, total = channels * pixels / width;
#pragma unroll
  for (int i = 0; i < vectors_a_thread; ++i) {
    const int vector = (block * vectors_a_thread + i) * gate_threads + thread;
    if (vector >= total) return;
    const int outer = vector / rows, inner = (vector - outer * rows) * width;
    const int c = plan.channels_last ? inner : outer, p = plan.channels_last ? outer : inner;
    // Of the two gates one is a vector and one the same for all its elements.
    float values[width], along[width];
    load_elements<width>(from + static_cast<int64_t>(vector) * width, values);
    load_floats<width>(plan.channels_last ? channel_gate + c : spatial_gate + p, along);
    const float across = plan.channels_last ? spatial_gate[p] : channel_gate[c];
#pragma unroll
    for (int e = 0; e < width; ++e) {
      values[e] *=
          plan.channels_last ? mix_gates(along[e], across, a.max_mode) : mix_gates(across, along[e], a.max_mode);
    }
    if constexpr (backward) {
      const float *d_spatial = a.d_spatial(sample), *d_pooled = a.d_pooled(sample), *ws = a.parameters.ws;
#pragma unroll
      for (int e = 0; e < width; ++e) {
        const int channel = plan.channels_last ? c + e : c, pixel = plan.channels_last ? p : p + e;
        values[e] += d_spatial[pixel] * ws[channel] + d_pooled[channel];
      }
    }
    store_elements<width>(to + static_cast<int64_t>(vector) * width, values);
  }
}

}  // namespace spinecore::cuda
