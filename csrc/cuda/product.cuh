// One tile of a product of two factors: 64 x 64 elements by 128 threads, 8 x 4 each, 16 terms of every sum at a time
// through shared memory, in two buffers. Centring and weights happen on the way into shared memory.
#pragma once

#include "block_sums.cuh"
#include "factor.cuh"
#include "tensor_core.cuh"

namespace spinecore::cuda {

inline constexpr int product_threads = 128, product_pitch = product_tile + 4;
inline constexpr int product_loads = product_tile * product_step / 4 / product_threads;  // fours of a thread

using StagedTile = float[product_step][product_pitch];
struct ProductBuffers {
  alignas(16) StagedTile left[2], right[2];  // four floats are read at once
};

// A thread's share of a tile of one factor, in registers. The tile begins at column `at` of the result's side and at
// `depth` under the sum; what lies at `end` or beyond counts as zero.
template <class T, bool along, class F>
__device__ __forceinline__ void fetch(const F& f, int at, int depth, int end, float (&values)[product_loads][4]) {
#pragma unroll
  for (int i = 0; i < product_loads; ++i) {
    const int item = static_cast<int>(threadIdx.x) + i * product_threads;
    if constexpr (along) {
      const int k = depth + item / (product_tile / 4);
      load_four<T>(f, k < end ? k : f.rows, at + item % (product_tile / 4) * 4, values[i]);
    } else {
      const int k = depth + item % (product_step / 4) * 4;
      load_four<T>(f, at + item / (product_step / 4), k < end ? k : f.columns, values[i]);
    }
  }
}

template <bool along, bool round>
__device__ __forceinline__ void stage(float (&values)[product_loads][4], StagedTile& tile) {
  if constexpr (round && has_tf32) {
#pragma unroll
    for (int i = 0; i < product_loads; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) values[i][e] = round_to_tf32(values[i][e]);
    }
  }
#pragma unroll
  for (int i = 0; i < product_loads; ++i) {
    const int item = static_cast<int>(threadIdx.x) + i * product_threads;
    if constexpr (along) {
      write_four(&tile[item / (product_tile / 4)][item % (product_tile / 4) * 4], values[i]);
    } else {
      const int k = item % (product_step / 4) * 4, row = item / (product_step / 4);
#pragma unroll
      for (int e = 0; e < 4; ++e) tile[k + e][row] = values[i][e];
    }
  }
}

// The thread's first row and column in its tile.
__device__ __forceinline__ int own_row() { return static_cast<int>(threadIdx.x) / 16 * 8; }
__device__ __forceinline__ int own_column() { return static_cast<int>(threadIdx.x) % 16 * 4; }

// sums += left^T right over one staged step, each thread its own 8 x 4 elements.
__device__ __forceinline__ void multiply_step(const StagedTile& left, const StagedTile& right, float (&sums)[8][4]) {
#pragma unroll
  for (int k = 0; k < product_step; ++k) {
    float rows[8], columns[4];
    read_four(&left[k][own_row()], reinterpret_cast<float (&)[4]>(rows[0]));
    read_four(&left[k][own_row() + 4], reinterpret_cast<float (&)[4]>(rows[4]));
    read_four(&right[k][own_column()], columns);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] += rows[i] * columns[j];
    }
  }
}

// The same on tensor cores: each warp has 32 x 32 elements, sums[4 * i + j] is its fragment of 16 rows and 8 columns.
__device__ __forceinline__ void multiply_step_tf32(const StagedTile& left, const StagedTile& right,
                                                   float (&sums)[8][4]) {
  const int warp = static_cast<int>(threadIdx.x) / 32, group = static_cast<int>(threadIdx.x) % 32 / 4;
  const int member = static_cast<int>(threadIdx.x) % 4, row = warp / 2 * 32 + group, column = warp % 2 * 32 + group;
#pragma unroll
  for (int k = member; k < product_step; k += 8) {
    float a[2][4], b[4][2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) a[i][e] = left[k + e / 2 * 4][row + 16 * i + e % 2 * 8];
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) b[j][e] = right[k + e * 4][column + 8 * j];
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) mma_tf32(sums[4 * i + j], a[i], b[j]);
    }
  }
}

// Hands the sums of tensor cores to the threads that multiply_step would have given them to; the buffers are those of
// the product.
template <class Buffers>
__device__ __forceinline__ void arrange(Buffers& buffers, float (&sums)[8][4]) {
  static_assert(sizeof(Buffers) >= sizeof(float) * product_tile * product_pitch);
  auto* tile = reinterpret_cast<float (*)[product_pitch]>(&buffers);
  const int warp = static_cast<int>(threadIdx.x) / 32, row = warp / 2 * 32 + static_cast<int>(threadIdx.x) % 32 / 4;
  const int column = warp % 2 * 32 + static_cast<int>(threadIdx.x) % 4 * 2;
  __syncthreads();  // nobody reads the last step any more
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float (&own)[4] = sums[4 * i + j];
      *reinterpret_cast<float2*>(&tile[row + 16 * i][column + 8 * j]) = {own[0], own[1]};
      *reinterpret_cast<float2*>(&tile[row + 16 * i + 8][column + 8 * j]) = {own[2], own[3]};
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 8; ++i) read_four(&tile[own_row() + i][own_column()], sums[i]);
}

// sums += left^T right over [depth, end). A factor is what load_four knows. With `tensor`, in tf32 where the GPU can;
// the sums are then in fragments, for `arrange`.
template <class L, bool left_along, class R, bool right_along, bool tensor = false, class Left, class Right>
__device__ __forceinline__ void multiply_tile(const Left& left, const Right& right, int row, int column, int depth,
                                              int end, ProductBuffers& buffers, float (&sums)[8][4]) {
  float next_a[product_loads][4], next_b[product_loads][4];
  fetch<L, left_along>(left, row, depth, end, next_a);
  fetch<R, right_along>(right, column, depth, end, next_b);
  for (int turn = 0; depth < end; depth += product_step, turn ^= 1) {
    stage<left_along, tensor && sizeof(L) == 4>(next_a, buffers.left[turn]);
    stage<right_along, tensor && sizeof(R) == 4>(next_b, buffers.right[turn]);
    __syncthreads();  // one a step: the next one fills the other buffers
    if (depth + product_step < end) {
      fetch<L, left_along>(left, row, depth + product_step, end, next_a);
      fetch<R, right_along>(right, column, depth + product_step, end, next_b);
    }
    if constexpr (tensor && has_tf32) {
      multiply_step_tf32(buffers.left[turn], buffers.right[turn], sums);
    } else {
      multiply_step(buffers.left[turn], buffers.right[turn], sums);
    }
  }
}

// Adds up what the blocks of one tile have summed, in the order of the splits. True for the block that has the total.
// The workspace holds the tickets of every sample, then the sums of each split.
__device__ inline bool add_splits(const ProductPlan& plan, float* workspace, int samples, int sample, int tile,
                                  int split, float (&sums)[8][4]) {
  if (plan.splits == 1) return true;
  constexpr int size = product_tile * product_tile;
  float* partials =
      workspace + samples * plan.tickets + (int64_t{sample} * plan.tiles + tile) * plan.splits * size + threadIdx.x * 4;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    write_four(partials + int64_t{split} * size + i * product_threads * 4, sums[i]);
#pragma unroll
    for (int j = 0; j < 4; ++j) sums[i][j] = 0.0f;
  }
  unsigned* ticket = reinterpret_cast<unsigned*>(workspace) + sample * plan.tickets + tile;
  if (!is_last_block(ticket, static_cast<unsigned>(plan.splits))) return false;
#pragma unroll 1
  for (int other = 0; other < plan.splits; ++other) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float more[4];
      read_four(partials + int64_t{other} * size + i * product_threads * 4, more);
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] += more[j];
    }
  }
  return true;
}

// Row and column of a tile: of the triangle's, column j has the tiles (0, j) to (j, j).
__device__ inline int2 place_of(const ProductPlan& plan, int tile) {
  if (!plan.triangle) return {tile / plan.tile_columns, tile % plan.tile_columns};
  int column = static_cast<int>((sqrtf(8.0f * static_cast<float>(tile) + 1.0f) - 1.0f) * 0.5f);
  while (column * (column + 1) / 2 > tile) --column;
  while ((column + 1) * (column + 2) / 2 <= tile) ++column;
  return {tile - column * (column + 1) / 2, column};
}

// The thread's elements of a tile that begins at `row` and `column` of a row-major matrix.
template <class T>
__device__ __forceinline__ void write_tile(T* result, int rows, int columns, bool vectors, int row, int column,
                                           const float (&sums)[8][4]) {
  row += own_row();
  column += own_column();
  if (column >= columns) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (row + i < rows) write_row(result, columns, vectors, row + i, column, sums[i]);
  }
}

__device__ inline void keep_tile(const ProductPlan& plan, const Outcome& o, int tile, int row, int column,
                                 float (&sums)[8][4]) {
  const float factor = o.divisor != nullptr ? 1.0f / *o.divisor : 1.0f;
  const bool mirrored = o.symmetric && row / product_tile != column / product_tile;
  float squares = 0.0f;
  auto* result = static_cast<float*>(o.result);
  row += own_row();
  column += own_column();
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      sums[i][j] *= factor;
      if (row + i >= plan.m || column + j >= plan.n || (!o.with_diagonal && row + i == column + j)) continue;
      const float other = o.partner != nullptr ? o.partner[int64_t{row + i} * plan.n + column + j] : sums[i][j];
      squares += sums[i][j] * other;
    }
    if (row + i < plan.m && column < plan.n) write_row(result, plan.n, o.vectors, row + i, column, sums[i]);
  }
  if (mirrored) {
    squares *= 2.0f;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int i = 0; i < 8; i += 4) {
        const float values[4] = {sums[i][j], sums[i + 1][j], sums[i + 2][j], sums[i + 3][j]};
        if (column + j < plan.n && row + i < plan.m) write_row(result, plan.m, o.vectors, column + j, row + i, values);
      }
    }
  }
  __shared__ float of_warps[product_threads / 32];
  squares = sum_lanes(squares, 1, 32);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = squares;
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0.0;
    for (int w = 0; w < product_threads / 32; ++w) total += static_cast<double>(of_warps[w]);
    o.squares[tile] = total;
  }
}

template <class T>
__device__ inline void write_gradient(const ProductPlan& plan, const Outcome& o, int row, int column,
                                      float (&sums)[8][4]) {
  const float scale = o.scale != nullptr ? *o.scale : 1.0f;
  row += own_row();
  column += own_column();
  if (column >= plan.n) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (row + i >= plan.m) continue;
    float centred[4] = {}, slope[4] = {};
    if (o.column != nullptr) {
      load_four<T>(o.centred, row + i, column, centred);
      if (o.centred.vectors) {
        read_four(o.column + column, slope);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) slope[j] = column + j < plan.n ? o.column[column + j] : 0.0f;
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) sums[i][j] = sums[i][j] * scale + centred[j] * slope[j];
    switch (o.element) {
      case Element::float32:
        write_row(static_cast<float*>(o.result), plan.n, o.vectors, row + i, column, sums[i]);
        break;
      case Element::bfloat16:
        write_row(static_cast<__nv_bfloat16*>(o.result), plan.n, o.vectors, row + i, column, sums[i]);
        break;
      case Element::float16:
        write_row(static_cast<__half*>(o.result), plan.n, o.vectors, row + i, column, sums[i]);
    }
  }
}

// T is the features' element type; the other factor of a gradient is a kept product, of floats.
template <class L, bool left_along, class R, bool right_along, class T, bool keep>
__global__ void __launch_bounds__(product_threads, 4)
    multiply_factors(Factor left, Factor right, ProductPlan plan, Outcome outcome, float* workspace) {
  const int tile = static_cast<int>(blockIdx.x) / plan.splits, split = static_cast<int>(blockIdx.x) % plan.splits;
  const int2 place = place_of(plan, tile);
  const int row = place.x * product_tile, column = place.y * product_tile, depth = split * plan.split_depth;
  __shared__ ProductBuffers buffers;
  float sums[8][4] = {};
  multiply_tile<L, left_along, R, right_along>(left, right, row, column, depth, min(depth + plan.split_depth, plan.k),
                                               buffers, sums);
  if (!add_splits(plan, workspace, 1, 0, tile, split, sums)) return;
  if constexpr (keep) {
    keep_tile(plan, outcome, tile, row, column, sums);
  } else {
    write_gradient<T>(plan, outcome, row, column, sums);
  }
}

}  // namespace spinecore::cuda
