// First launch of scSE: one read of x (and dy). Every block sums one chunk of pixels: for each pixel over the channels
// (the spatial gate, or its gradient), for each channel over the pixels. The last block of a sample then has all its
// sums and computes the small network of the channel gate.
#pragma once

#include "scse_gate_gates.cuh"
#include "vectors.cuh"

namespace spinecore::cuda {

// The weights of the spatial gate, and backward the channel gate, of all channels a thread may touch: zeros beyond.
// Without max mode every comparison of gates finds the channel's larger, and both get the whole gradient: no branch.
template <int most, bool backward>
__device__ __forceinline__ void stage_channels(const GateArguments& a, int64_t sample, float* weights, float* gates) {
  for (int c = static_cast<int>(threadIdx.x); c < most; c += gate_threads) {
    const bool inside = c < a.plan.channels;
    weights[c] = inside ? a.parameters.ws[c] : 0.0f;
    if (backward) gates[c] = !a.max_mode ? INFINITY : inside ? a.channel_gate[sample * a.plan.channels + c] : 0.0f;
  }
}

// Channels-last. `lanes` threads (a power of two) hold one pixel, `span` channels each; a warp reads 32 / lanes pixels
// at once and keeps the sums of its channels in registers.
template <class T, bool aligned, int span, bool backward>
__global__ void __launch_bounds__(gate_threads, span == 8 ? 3 : 1) reduce_channels_last(GateArguments a) {
  constexpr int width = width_of<T>, vectors = span / width, most = 32 * span, warps = gate_threads / 32;
  constexpr int kept = warps / 2;  // half the warps write their sums, the others add to them
  constexpr int network = network_memory<most, backward>;
  __shared__ float weights[most], gates[backward ? most : 1];
  __shared__ float memory[kept * most > network ? kept * most : network];
  const ScseGatePlan& plan = a.plan;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  int lanes = 1;
  while (lanes < 32 && lanes * width < plan.channels) lanes *= 2;
  const int lane = thread % lanes, channels = plan.channels;
  const int64_t sample = blockIdx.x / static_cast<unsigned>(plan.chunks);
  const int chunk = static_cast<int>(blockIdx.x % static_cast<unsigned>(plan.chunks));
  const int first = chunk * plan.chunk_pixels, last = min(first + plan.chunk_pixels, plan.pixels);
  stage_channels<most, backward>(a, sample, weights, gates);
  __syncthreads();

  const T* x = static_cast<const T*>(a.x) + sample * plan.pixels * channels;
  const T* dy = backward ? static_cast<const T*>(a.dy) + sample * plan.pixels * channels : nullptr;
  const float whole = a.max_mode ? 1.0f : 2.0f;
  float to_channel[vectors][width] = {}, to_weight[backward ? vectors : 1][width] = {}, to_bias = 0.0f;
  const int pixels_at_once = 32 / lanes;
  // The bound is the same for a whole warp: its lanes shuffle together.
  for (int base = first + warp * pixels_at_once; base < last; base += warps * pixels_at_once) {
    const int pixel = base + thread % 32 / lanes;
    const bool inside = pixel < last;
    const int64_t row = static_cast<int64_t>(inside ? pixel : first) * channels;
    const float spatial = backward && inside ? a.spatial_gate[sample * plan.pixels + pixel] : 0.0f;
    const float compared = a.max_mode ? spatial : 0.0f;
    float values[vectors][width], sum = 0.0f;
#pragma unroll
    for (int k = 0; k < vectors; ++k) {
      const int from = k * lanes * width;
      load<aligned>(x + row + from, lane, lanes, inside ? channels - from : 0, values[k]);
      float grads[width];
      if constexpr (backward) load<aligned>(dy + row + from, lane, lanes, inside ? channels - from : 0, grads);
#pragma unroll
      for (int e = 0; e < width; ++e) {
        const int c = from + position<aligned, width>(lane, lanes, e);
        if constexpr (backward) {
          const float product = grads[e] * values[k][e], share = channel_share(gates[c], compared);
          to_channel[k][e] += share * product;
          sum += (whole - share) * product;
        } else {
          to_channel[k][e] += values[k][e];
          sum += weights[c] * values[k][e];
        }
      }
    }
    sum = sum_lanes(sum, 1, lanes);
    if constexpr (backward) {
      sum *= spatial * (1.0f - spatial);
#pragma unroll
      for (int k = 0; k < vectors; ++k) {
#pragma unroll
        for (int e = 0; e < width; ++e) to_weight[k][e] += sum * values[k][e];
      }
      if (inside && lane == 0) {
        to_bias += sum;
        a.d_spatial(sample)[pixel] = sum;
      }
    } else if (inside && lane == 0) {
      a.spatial_gate[sample * plan.pixels + pixel] = sigmoid(sum + bias(a.bs, 0));
    }
  }

  float* sums = a.sums(sample, chunk);
#pragma unroll
  for (int part = 0; part < (backward ? 2 : 1); ++part) {
    auto& totals = part == 0 ? to_channel : reinterpret_cast<float (&)[vectors][width]>(to_weight);
#pragma unroll
    for (int k = 0; k < vectors; ++k) {
#pragma unroll
      for (int e = 0; e < width; ++e) {
        if (span == 8) totals[k][e] = sum_lanes(totals[k][e], lanes, 32);  // else a pixel fills the warp
      }
    }
    for (int round = 0; round < 2; ++round) {
      if (warp / kept == round && thread % 32 < lanes) {
#pragma unroll
        for (int k = 0; k < vectors; ++k) {
#pragma unroll
          for (int e = 0; e < width; ++e) {
            float* total = memory + warp % kept * most + k * lanes * width + position<aligned, width>(lane, lanes, e);
            *total = round == 0 ? totals[k][e] : *total + totals[k][e];
          }
        }
      }
      __syncthreads();
    }
    for (int c = thread; c < channels; c += gate_threads) {
      float total = 0.0f;
#pragma unroll
      for (int w = 0; w < kept; ++w) total += memory[w * most + c];
      sums[part * channels + c] = total;
    }
    __syncthreads();
  }
  if constexpr (backward) {
    to_bias = sum_lanes(to_bias, 1, 32);
    if (thread % 32 == 0) memory[warp] = to_bias;
    __syncthreads();
    if (thread == 0) {
      float total = 0.0f;
      for (int w = 0; w < warps; ++w) total += memory[w];
      sums[2 * channels] = total;
    }
  }
  finish_chunk<backward>(a, sample, chunk, memory);
}

// NCHW. Eight threads hold a run of pixels of one channel, the 32 groups of eight take every 32nd channel; the block
// walks over its chunk one run after another and keeps the sums of the channels in shared memory.
template <class T, bool aligned, bool backward>
__global__ void __launch_bounds__(gate_threads, sizeof(T) == 4 && aligned ? 3 : 2) reduce_contiguous(GateArguments a) {
  constexpr int width = width_of<T>, lanes = 8, run = lanes * width, groups = gate_threads / lanes,
                warps = gate_threads / 32, most = scse_gate_most_channels;
  __shared__ float weights[most], gates[backward ? most : 1], to_channel[most], to_weight[backward ? most : 1];
  __shared__ float scores[2][warps][run], d_scores[backward ? run : 1];
  __shared__ float memory[network_memory<most, backward>];
  const ScseGatePlan& plan = a.plan;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes, group = thread / lanes;
  const int channels = plan.channels, pixels = plan.pixels;
  const int64_t sample = blockIdx.x / static_cast<unsigned>(plan.chunks);
  const int chunk = static_cast<int>(blockIdx.x % static_cast<unsigned>(plan.chunks));
  const int first = chunk * plan.chunk_pixels, last = min(first + plan.chunk_pixels, pixels);
  stage_channels<most, backward>(a, sample, weights, gates);
  for (int c = thread; c < most; c += gate_threads) {
    to_channel[c] = 0.0f;
    if (backward) to_weight[c] = 0.0f;
  }
  __syncthreads();

  const T* x = static_cast<const T*>(a.x) + sample * pixels * channels;
  const T* dy = backward ? static_cast<const T*>(a.dy) + sample * pixels * channels : nullptr;
  const float whole = a.max_mode ? 1.0f : 2.0f;
  float to_bias = 0.0f;
  for (int base = first, turn = 0; base < last; base += run, turn ^= 1) {
    const int count = min(run, last - base);
    float sum[width] = {}, spatial[width] = {};
    if (backward && a.max_mode) {
      const float* from = a.spatial_gate + sample * pixels + base;
      if constexpr (aligned) {
        if (lane * width < count) load_floats<width>(from + lane * width, spatial);
      } else {
#pragma unroll
        for (int e = 0; e < width; ++e) {
          const int at = position<aligned, width>(lane, lanes, e);
          spatial[e] = at < count ? from[at] : 0.0f;
        }
      }
    }
#pragma unroll 4
    for (int c = group; c - group < channels; c += groups) {
      const int64_t row = static_cast<int64_t>(c) * pixels + base;
      const int here = c < channels ? count : 0;
      float values[width], total = 0.0f;
      load<aligned>(x + row, lane, lanes, here, values);
      if constexpr (backward) {
        float grads[width];
        load<aligned>(dy + row, lane, lanes, here, grads);
#pragma unroll
        for (int e = 0; e < width; ++e) {
          const float product = grads[e] * values[e], share = channel_share(gates[c], spatial[e]);
          total += share * product;
          sum[e] += (whole - share) * product;
        }
      } else {
#pragma unroll
        for (int e = 0; e < width; ++e) {
          total += values[e];
          sum[e] += weights[c] * values[e];
        }
      }
      total = sum_lanes(total, 1, lanes);
      if (lane == 0 && here > 0) to_channel[c] += total;
    }
#pragma unroll
    for (int e = 0; e < width; ++e) {
      sum[e] = sum_lanes(sum[e], lanes, 32);
      if (thread % 32 < lanes) scores[turn][thread / 32][position<aligned, width>(lane, lanes, e)] = sum[e];
    }
    __syncthreads();  // one a run: the next one writes the other half of `scores`
    if (thread < count) {
      float score = 0.0f;
#pragma unroll
      for (int w = 0; w < warps; ++w) score += scores[turn][w][thread];
      const int64_t pixel = sample * pixels + base + thread;
      if constexpr (backward) {
        const float gate = a.spatial_gate[pixel];
        score *= gate * (1.0f - gate);
        to_bias += score;
        a.d_spatial(sample)[base + thread] = score;
        d_scores[thread] = score;
      } else {
        a.spatial_gate[pixel] = sigmoid(score + bias(a.bs, 0));
      }
    }
    if constexpr (backward) {
      __syncthreads();
      float score[width];
#pragma unroll
      for (int e = 0; e < width; ++e) {
        const int at = position<aligned, width>(lane, lanes, e);
        score[e] = at < count ? d_scores[at] : 0.0f;
      }
      // x again, from the first cache level: keeping it would take a register for every element of the run.
#pragma unroll 4
      for (int c = group; c - group < channels; c += groups) {
        const int here = c < channels ? count : 0;
        float values[width], total = 0.0f;
        load<aligned>(x + static_cast<int64_t>(c) * pixels + base, lane, lanes, here, values);
#pragma unroll
        for (int e = 0; e < width; ++e) total += score[e] * values[e];
        total = sum_lanes(total, 1, lanes);
        if (lane == 0 && here > 0) to_weight[c] += total;
      }
    }
  }

  float* sums = a.sums(sample, chunk);
  __syncthreads();
  for (int c = thread; c < channels; c += gate_threads) {
    sums[c] = to_channel[c];
    if (backward) sums[channels + c] = to_weight[c];
  }
  if constexpr (backward) {
    to_bias = sum_lanes(to_bias, 1, 32);
    if (thread % 32 == 0) memory[thread / 32] = to_bias;
    __syncthreads();
    if (thread == 0) {
      float total = 0.0f;
      for (int w = 0; w < warps; ++w) total += memory[w];
      sums[2 * channels] = total;
    }
  }
  finish_chunk<backward>(a, sample, chunk, memory);
}

}  // namespace spinecore::cuda
