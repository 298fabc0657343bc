// All steps of the recurrent residual convolution for a tile of pixels, in one kernel. A block keeps a region of 16 x
// 16 pixels and the ring round it in shared memory: first x, then u_0, u_1, ... in its place; d stays in registers.
// Each step's outermost pixels miss neighbours and are wrong; with 16 - 2 steps pixels a side that are right at the
// end, blocks overlap (halo recomputation), and nothing but x and y goes through global memory.
#pragma once

#include "factor.cuh"
#include "spinecore/cuda/recurrent_residual_conv.h"
#include "staged_pixels.cuh"
#include "tensor_core.cuh"

namespace spinecore::cuda {

inline constexpr int recurrence_threads = 256, grid_side = recurrence_region + 2;  // 8 warps of two rows of pixels
inline constexpr int grid_pixels = grid_side * grid_side;

// Blocks of a multiprocessor that the registers must allow: a thread has `channels` sums, and as many of d.
template <int channels>
inline constexpr int recurrence_blocks = channels > 32 ? 1 : 2;

// Pixels of the region and its ring.
template <class T, int channels>
using Grid = StagedPixels<T, channels, grid_pixels>;

// The thread's sums: those of a warp's tensor-core products. sums[i][j][e] is of row 2 warp + i of the region, its
// column lane / 4 + e / 2 * 8, and channel 8 j + lane % 4 * 2 + e % 2.
template <int channels>
using Sums = float[2][channels / 8][4];

struct Lane {
  int warp = static_cast<int>(threadIdx.x) / 32, group = static_cast<int>(threadIdx.x) % 32 / 4,
      member = static_cast<int>(threadIdx.x) % 4, index = static_cast<int>(threadIdx.x) % 32;
};

// sums += conv(grid, w), halves on tensor cores. w: for each tap, 16 channels under the sum and 16 of the result, the
// two right fragments of every lane.
template <class T, int channels>
__device__ __forceinline__ void multiply_on_tensor_cores(Grid<T, channels>& grid, const uint4* w,
                                                         Sums<channels>& sums) {
  constexpr int blocks = channels / 16;
  const Lane lane;
#pragma unroll 1
  for (int tap = 0; tap < 9; ++tap) {
    const int first = (2 * lane.warp + tap / 3) * grid_side + tap % 3 + lane.index % 16;
#pragma unroll 1
    for (int k = 0; k < blocks; ++k) {
      uint32_t a[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) load_matrices<false>(a[i], grid.at(first + i * grid_side, 2 * k + lane.index / 16));
#pragma unroll
      for (int j = 0; j < blocks; ++j) {
        const uint4 b = w[((tap * blocks + k) * blocks + j) * 32 + lane.index];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          mma_halves<T>(sums[i][2 * j], a[i], b.x, b.y);
          mma_halves<T>(sums[i][2 * j + 1], a[i], b.z, b.w);
        }
      }
    }
  }
}

// The same in float32. w: for each tap and channel under the sum, by sixteen channels of the result, the four of each
// lane % 4.
template <int channels>
__device__ __forceinline__ void multiply_floats(Grid<float, channels>& grid, const float* w, Sums<channels>& sums) {
  const Lane lane;
#pragma unroll 1
  for (int tap = 0; tap < 9; ++tap) {
    const int first = (2 * lane.warp + tap / 3) * grid_side + tap % 3 + lane.group;
#pragma unroll 1
    for (int pair = 0; pair < channels / 2; ++pair) {  // of channels: with four at a time it would spill
      float a[2][2][2];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint4* unit = grid.at(first + i / 2 * grid_side + i % 2 * 8, pair / 2);
        const float2 two = reinterpret_cast<const float2*>(unit)[pair % 2];
        a[i / 2][i % 2][0] = two.x;
        a[i / 2][i % 2][1] = two.y;
      }
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const float* row = w + (tap * channels + 2 * pair + k) * channels + lane.member * 4;
#pragma unroll
        for (int j = 0; j < channels / 8; j += 2) {
          float b[4];
          read_four(row + 8 * j, b);
#pragma unroll
          for (int i = 0; i < 2; ++i) {
#pragma unroll
            for (int e = 0; e < 8; ++e) sums[i][j + e / 4][e % 4] += a[i][e / 2 % 2][k] * b[e / 4 * 2 + e % 2];
          }
        }
      }
    }
  }
}

template <class T, int channels>
__device__ __forceinline__ void multiply(Grid<T, channels>& grid, const void* w, Sums<channels>& sums) {
  if constexpr (sizeof(T) == 4) {
    multiply_floats<channels>(grid, static_cast<const float*>(w), sums);
  } else {
    multiply_on_tensor_cores<T, channels>(grid, static_cast<const uint4*>(w), sums);
  }
}

// Where a block's region lies: its first pixel, outside of the image where that is at an edge.
struct Region {
  int height, width;
  int64_t sample;  // its first pixel in memory
  int top, left;

  __device__ __forceinline__ Region(const RecurrencePlan& p, int block) : height(p.height), width(p.width) {
    const int tile = block / p.tiles_x;
    sample = static_cast<int64_t>(tile / p.tiles_y) * p.height * p.width;
    top = tile % p.tiles_y * p.side - p.steps;
    left = block % p.tiles_x * p.side - p.steps;
  }
  // The pixel in memory by its place in the region; -1 outside of the image.
  __device__ __forceinline__ int64_t pixel(int row, int column) const {
    const int y = top + row, x = left + column;
    return y >= 0 && y < height && x >= 0 && x < width ? sample + static_cast<int64_t>(y) * width + x : -1;
  }
};

// x of the region and its ring; zeros outside of the image and beyond its channels. `direct`: 16 bytes at once.
template <class T, int channels>
__device__ __forceinline__ void load_grid(const RecurrencePlan& plan, const Region& region, const T* x, bool direct,
                                          Grid<T, channels>& grid) {
  constexpr int units = Grid<T, channels>::units, width = Grid<T, channels>::width;
  for (int i = static_cast<int>(threadIdx.x); i < grid_pixels * units; i += recurrence_threads) {
    const int place = i / units, channel = i % units * width;
    const int64_t pixel = region.pixel(place / grid_side - 1, place % grid_side - 1);
    stage_unit(grid.at(place, i % units), x, pixel, channel, plan.channels, direct);
  }
  commit_copies();
  wait_copies<0>();
}

// u = relu(scale sums + shift) in the place of what the sums were made of; zero outside of the image, as its neighbours
// there must see it.
template <class T, int channels>
__device__ __forceinline__ void store_activations(const RecurrencePlan& plan, const Region& region, const float* scale,
                                                  const float* shift, const Sums<channels>& sums,
                                                  Grid<T, channels>& grid) {
  const Lane lane;
#pragma unroll
  for (int j = 0; j < channels / 8; ++j) {
    const int channel = 8 * j + lane.member * 2;
    float factor[2], offset[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      factor[e] = channel + e < plan.channels ? scale[channel + e] : 0.0f;
      offset[e] = channel + e < plan.channels ? shift[channel + e] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = 2 * lane.warp + i / 2, column = lane.group + i % 2 * 8;
      const bool inside = region.pixel(row, column) >= 0;
      T pair[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float value = factor[e] * sums[i / 2][j][i % 2 * 2 + e] + offset[e];
        from_float(inside && !(value < 0.0f) ? value : 0.0f, pair[e]);  // a NaN stays one
      }
      uint4* unit = grid.at((row + 1) * grid_side + column + 1, channel / width_of<T>);
      using Pair = std::conditional_t<sizeof(T) == 4, uint2, uint32_t>;
      Pair raw;
      memcpy(&raw, pair, sizeof raw);
      reinterpret_cast<Pair*>(unit)[channel % width_of<T> / 2] = raw;
    }
  }
}

// y = u, plus x where wanted, of the pixels that are right.
template <class T, int channels>
__device__ __forceinline__ void write_tile(const RecurrencePlan& plan, const Region& region, const T* x, T* y,
                                           bool direct, Grid<T, channels>& grid) {
  constexpr int units = Grid<T, channels>::units, width = Grid<T, channels>::width;
  for (int i = static_cast<int>(threadIdx.x); i < plan.side * plan.side * units; i += recurrence_threads) {
    const int place = i / units, channel = i % units * width;
    const int row = place / plan.side + plan.steps, column = place % plan.side + plan.steps;
    const int64_t pixel = region.pixel(row, column);
    if (pixel < 0 || channel >= plan.channels) continue;
    const int64_t at = pixel * plan.channels + channel;
    const T* unit = reinterpret_cast<const T*>(grid.at((row + 1) * grid_side + column + 1, i % units));
    float values[width], images[width] = {};
    load_elements<width>(unit, values);
    if (direct) {
      if (plan.residual) load_elements<width>(x + at, images);
#pragma unroll
      for (int e = 0; e < width; ++e) values[e] += images[e];
      store_elements<width>(y + at, values);
    } else {
      for (int e = 0; e < width && channel + e < plan.channels; ++e) {
        from_float(values[e] + (plan.residual ? to_float(x[at + e]) : 0.0f), y[at + e]);
      }
    }
  }
}

template <class T, int channels>
__global__ void __launch_bounds__(recurrence_threads, recurrence_blocks<channels>)
    recur(RecurrencePlan plan, RecurrencePointers p, bool direct) {
  // bfloat16 before sm_80 goes step by step; this says so where it was launched all the same.
  if constexpr (sizeof(T) == 2 && !has_half_products<T>) {
    __trap();
  } else {
    __shared__ Grid<T, channels> grid;
    const Region region(plan, static_cast<int>(blockIdx.x));
    load_grid<T, channels>(plan, region, static_cast<const T*>(p.x), direct, grid);
    __syncthreads();
    Sums<channels> first = {}, sums;
    multiply<T, channels>(grid, p.w_in, first);
    memcpy(sums, first, sizeof sums);
    for (int step = 0;; ++step) {
      __syncthreads();  // nobody reads what u takes the place of
      store_activations<T, channels>(plan, region, p.scale + step * p.scale_stride, p.shift + step * p.shift_stride,
                                     sums, grid);
      __syncthreads();
      if (step == plan.steps) break;
      memcpy(sums, first, sizeof sums);
      // Rows beyond what the next steps read are left as they are.
      const int row = 2 * (static_cast<int>(threadIdx.x) / 32);
      if (row + 1 > step && row < recurrence_region - 1 - step) multiply<T, channels>(grid, p.w_rec, sums);
    }
    write_tile<T, channels>(plan, region, static_cast<const T*>(p.x), static_cast<T*>(p.y), direct, grid);
  }
}

}  // namespace spinecore::cuda
