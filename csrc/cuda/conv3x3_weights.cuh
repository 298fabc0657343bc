// The gradient of the weights of a 3x3 convolution: dw[o][tap][i] = sum over pixels p of dy[p][o] x[p + tap][i]. A
// block has 64 channels of dy, 32 of x and all nine taps, whose sums stay in registers: a tile of pixels is read once,
// x with the ring round it. Blocks share the tiles; what each has summed is added up by a second kernel.
#pragma once

#include "divisor.cuh"
#include "spinecore/cuda/conv3x3.h"
#include "staged_pixels.cuh"
#include "tensor_core.cuh"

namespace spinecore::cuda {

inline constexpr int gradient_threads = 256, gradient_sum_threads = 256;

struct WeightGradient {
  const void *x, *dy;
  float* sums;  // of every split, (out, 9, in)
  int height, width, in, out;
  WeightGradientPlan plan;
  Divisor across, down, blocks, blocks_in;
  bool direct_x, direct_dy;  // 16 bytes of a pixel may be read at once
  bool pairs;                // two of the sums written at once
};

// A tile of pixels, x with its ring. Two buffers fit into 48 KB.
template <class T>
struct GradientTile {
  static constexpr int rows = gradient_rows(sizeof(T)), across = gradient_across;
  StagedPixels<T, gradient_out, rows * across> dy;
  StagedPixels<T, gradient_in, (rows + 2) * (across + 2)> x;
};

// The first pixels and channels of a block's tile.
struct GradientPlace {
  int64_t sample;  // its first pixel in memory
  int top, left, out, in;

  __device__ __forceinline__ int64_t pixel(const WeightGradient& g, int row, int column) const {
    const int y = top + row, x = left + column;
    return y >= 0 && y < g.height && x >= 0 && x < g.width ? sample + static_cast<int64_t>(y) * g.width + x : -1;
  }
};

__device__ __forceinline__ void find_tile(const WeightGradient& g, int tile, int rows, GradientPlace& place) {
  const int line = quotient(tile, g.across), sample = quotient(line, g.down);
  place.left = remainder_of(tile, line, g.across) * gradient_across;
  place.top = remainder_of(line, sample, g.down) * rows;
  place.sample = static_cast<int64_t>(sample) * g.height * g.width;
}

template <class T>
__device__ __forceinline__ void stage_tile(const WeightGradient& g, const GradientPlace& place, GradientTile<T>& to) {
  using Tile = GradientTile<T>;
  constexpr int ring = Tile::across + 2;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < to.dy.count * to.dy.units; i += gradient_threads) {
    const int at = i / to.dy.units, unit = i % to.dy.units;
    stage_unit(to.dy.at(at, unit), static_cast<const T*>(g.dy), place.pixel(g, at / Tile::across, at % Tile::across),
               place.out + unit * to.dy.width, g.out, g.direct_dy);
  }
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < to.x.count * to.x.units; i += gradient_threads) {
    const int at = i / to.x.units, unit = i % to.x.units;
    stage_unit(to.x.at(at, unit), static_cast<const T*>(g.x), place.pixel(g, at / ring - 1, at % ring - 1),
               place.in + unit * to.x.width, g.in, g.direct_x);
  }
}

// Of tensor cores: sums[tap][j][e] of a warp's 16 x 16 channels is the fragment of 16 of dy and eight of x.
// Else: sums[tap][e / 4][e % 4] is of channel 8 warp + e of dy and channel lane of x.
using GradientSums = float[9][2][4];

// Every row of x meets the rows of dy above, at and below it: one load of x for three taps across, of dy for nine.
// visit(row of x in its ring, row of dy, first tap).
template <int rows, class Load, class Multiply>
__device__ __forceinline__ void each_pair_of_rows(const Load& load_x, const Multiply& multiply) {
#pragma unroll 1
  for (int row = 0; row < rows + 2; ++row) {
    load_x(row);
#pragma unroll
    for (int down = 0; down < 3; ++down) {
      const int own = row - down;
      if (own >= 0 && own < rows) multiply(own, down);
    }
  }
}

// Halves: sixteen pixels side by side are the terms of a product.
template <class T>
__device__ __forceinline__ void correlate_halves(GradientTile<T>& tile, GradientSums& sums) {
  constexpr int across = GradientTile<T>::across, ring = across + 2;
  static_assert(across == 16, "the terms of a product of halves");
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int out = warp / 2 * 16, in = warp % 2 * 16, first = lane / 8 % 2 * 8, second = lane / 16 * 8;
  uint32_t b[3][4];
  each_pair_of_rows<GradientTile<T>::rows>(
      [&](int row) {
#pragma unroll
        for (int tap = 0; tap < 3; ++tap) {
          load_matrices<true>(b[tap], tile.x.at(row * ring + tap + first + lane % 8, (in + second) / 8));
        }
      },
      [&](int row, int down) {
        uint32_t a[4];
        load_matrices<true>(a, tile.dy.at(row * across + second + lane % 8, (out + first) / 8));
#pragma unroll
        for (int tap = 0; tap < 3; ++tap) {
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            mma_halves<T>(sums[3 * down + tap][j], a, b[tap][2 * j], b[tap][2 * j + 1]);
          }
        }
      });
}

// The same in tf32, eight pixels at a time.
__device__ __forceinline__ void correlate_tf32(GradientTile<float>& tile, GradientSums& sums) {
  constexpr int across = GradientTile<float>::across, ring = across + 2;
  const int warp = static_cast<int>(threadIdx.x) / 32, group = static_cast<int>(threadIdx.x) % 32 / 4;
  const int member = static_cast<int>(threadIdx.x) % 4, out = warp / 2 * 16 + group, in = warp % 2 * 16 + group;
#pragma unroll
  for (int k = member; k < across; k += 8) {
    float b[3][2][2];
    each_pair_of_rows<GradientTile<float>::rows>(
        [&](int row) {
#pragma unroll
          for (int i = 0; i < 12; ++i) {
            const int tap = i / 4, j = i / 2 % 2, e = i % 2;
            b[tap][j][e] = round_to_tf32(tile.x.element(row * ring + tap + k + 4 * e, in + 8 * j));
          }
        },
        [&](int row, int down) {
          float a[4];
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            a[e] = round_to_tf32(tile.dy.element(row * across + k + e / 2 * 4, out + e % 2 * 8));
          }
#pragma unroll
          for (int tap = 0; tap < 3; ++tap) {
#pragma unroll
            for (int j = 0; j < 2; ++j) mma_tf32(sums[3 * down + tap][j], a, b[tap][j]);
          }
        });
  }
}

// Without tensor cores: a window of 3 x 3 pixels of x moves along the row.
template <class T>
__device__ __forceinline__ void correlate_floats(GradientTile<T>& tile, GradientSums& sums) {
  constexpr int across = GradientTile<T>::across, ring = across + 2;
  const int out = static_cast<int>(threadIdx.x) / 32 * 8, in = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
  for (int row = 0; row < GradientTile<T>::rows; ++row) {
    float window[3][3];
#pragma unroll
    for (int i = 0; i < 6; ++i) window[i / 2][i % 2 + 1] = to_float(tile.x.element((row + i / 2) * ring + i % 2, in));
#pragma unroll 4
    for (int column = 0; column < across; ++column) {
      float own[8];
#pragma unroll
      for (int unit = 0; unit < 8 / width_of<T>; ++unit) {
        const auto* from = reinterpret_cast<const T*>(tile.dy.at(row * across + column, out / width_of<T> + unit));
        load_elements<width_of<T>>(from, reinterpret_cast<float (&)[width_of<T>]>(own[unit * width_of<T>]));
      }
#pragma unroll
      for (int down = 0; down < 3; ++down) {
        window[down][0] = window[down][1];
        window[down][1] = window[down][2];
        window[down][2] = to_float(tile.x.element((row + down) * ring + column + 2, in));
      }
#pragma unroll
      for (int tap = 0; tap < 9; ++tap) {
#pragma unroll
        for (int e = 0; e < 8; ++e) sums[tap][e / 4][e % 4] += own[e] * window[tap / 3][tap % 3];
      }
    }
  }
}

template <class T, bool tensor>
inline constexpr bool on_tensor_cores = sizeof(T) == 4 ? tensor && has_tf32 : has_half_products<T>;

__device__ __forceinline__ void write_sum(const WeightGradient& g, float* sums, int out, int in, float value) {
  if (out < g.out && in < g.in) sums[static_cast<int64_t>(out) * 9 * g.in + in] = value;
}

template <class T, bool tensor>
__device__ __forceinline__ void write_sums(const WeightGradient& g, const GradientPlace& place, int split,
                                           const GradientSums& sums) {
  float* to = g.sums + static_cast<int64_t>(split) * g.out * 9 * g.in;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int tap = 0; tap < 9; ++tap, to += g.in) {
    if constexpr (on_tensor_cores<T, tensor>) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* pair = &sums[tap][i / 2][i % 2 * 2];
        const int out = place.out + warp / 2 * 16 + lane / 4 + i % 2 * 8;
        const int in = place.in + warp % 2 * 16 + i / 2 * 8 + lane % 4 * 2;
        if (g.pairs) {
          if (out < g.out && in < g.in) {
            *reinterpret_cast<float2*>(to + static_cast<int64_t>(out) * 9 * g.in + in) = {pair[0], pair[1]};
          }
        } else {
          write_sum(g, to, out, in, pair[0]);
          write_sum(g, to, out, in + 1, pair[1]);
        }
      }
    } else {
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        write_sum(g, to, place.out + warp * 8 + e, place.in + lane, sums[tap][e / 4][e % 4]);
      }
    }
  }
}

template <class T, bool tensor>
__global__ void __launch_bounds__(gradient_threads, 2) differentiate_weights(WeightGradient g) {
  const int split = quotient(static_cast<int>(blockIdx.x), g.blocks);
  const int block = remainder_of(static_cast<int>(blockIdx.x), split, g.blocks),
            block_out = quotient(block, g.blocks_in);
  GradientPlace place;
  place.out = block_out * gradient_out;
  place.in = remainder_of(block, block_out, g.blocks_in) * gradient_in;
  int tile = split * g.plan.split_tiles;
  const int end = min(tile + g.plan.split_tiles, g.plan.tiles);
  __shared__ GradientTile<T> tiles[2];
  GradientSums sums = {};
  find_tile(g, tile, GradientTile<T>::rows, place);
  stage_tile(g, place, tiles[0]);
  commit_copies();
  for (int turn = 0; tile < end; ++tile, turn ^= 1) {
    wait_copies<0>();
    __syncthreads();  // one a tile: this one is there, and nobody reads the other any more
    if (tile + 1 < end) {
      find_tile(g, tile + 1, GradientTile<T>::rows, place);
      stage_tile(g, place, tiles[turn ^ 1]);
    }
    commit_copies();
    if constexpr (!on_tensor_cores<T, tensor>) {
      correlate_floats(tiles[turn], sums);
    } else if constexpr (sizeof(T) == 2) {
      correlate_halves(tiles[turn], sums);
    } else {
      correlate_tf32(tiles[turn], sums);
    }
  }
  write_sums<T, tensor>(g, place, split, sums);
}

// dw = the sums of all splits, in their order.
__global__ void __launch_bounds__(gradient_sum_threads)
    add_gradients(const float* sums, int64_t count, int splits, float* dw) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * gradient_sum_threads + threadIdx.x;
  if (at >= count) return;
  float total = 0.0f;
#pragma unroll 4
  for (int split = 0; split < splits; ++split) total += sums[split * count + at];
  dw[at] = total;
}

}  // namespace spinecore::cuda
