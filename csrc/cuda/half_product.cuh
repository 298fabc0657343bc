// One tile of a product of two factors of bfloat16 or float16, as they are, on tensor cores: 64 x 64 elements by 128
// threads, 32 terms of every sum at a time through shared memory, in three buffers that asynchronous copies fill ahead
// (two, through registers, before sm_80).
#pragma once

#include "async_copy.cuh"
#include "factor.cuh"
#include "product.cuh"
#include "tensor_core.cuh"

namespace spinecore::cuda {

inline constexpr int half_step = 32, half_stages = has_async_copy ? 3 : 2;
inline constexpr int half_eights = product_tile * half_step / 8;  // of a tile of one factor
inline constexpr int half_loads = half_eights / product_threads;  // of a thread
// Blocks of a multiprocessor that the registers must allow; on sm_75 a fourth would spill.
inline constexpr int half_blocks = has_async_copy ? 4 : 3;
static_assert(product_tile == 64 && half_step == 32, "the swizzle is made for rows of 64 and 128 bytes");

// Eight elements are one uint4. `arrange` needs a little more than two stages.
struct HalfBuffers {
  static constexpr int staged = 2 * half_stages * half_eights, arranged = product_tile * product_pitch / 4;
  alignas(16) uint4 eights[staged > arranged ? staged : arranged];

  __device__ __forceinline__ uint4* left(int stage) { return eights + 2 * stage * half_eights; }
  __device__ __forceinline__ uint4* right(int stage) { return left(stage) + half_eights; }
};

// Whether eight halves of every row may be copied at once.
inline bool in_eights(const void* data, int columns) {
  return columns % 8 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

// A factor has
//   const T* eight_at<T>(factor, row, column)        eight elements side by side, null where there are zeros
//   void gather_eight<T>(factor, row, column, out)   the same where eight cannot be read at once
// or, where its elements are made on the way, is_made and only the latter. Here those of plain matrices; means, weights
// and masks are not for this product.
template <class F>
inline constexpr bool is_made = false;

template <class T>
__device__ __forceinline__ const T* eight_at(const Factor& f, int row, int column) {
  if (row >= f.rows || column >= f.columns) return nullptr;
  return static_cast<const T*>(f.data) + static_cast<int64_t>(row) * f.columns + column;
}
template <class T>
__device__ __forceinline__ void gather_eight(const Factor& f, int row, int column, T (&out)[8]) {
  const T* from = static_cast<const T*>(f.data) + static_cast<int64_t>(row) * f.columns + column;
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    if (row < f.rows && column + e < f.columns) {
      out[e] = from[e];
    } else {
      from_float(0.0f, out[e]);
    }
  }
}

// Where an eight of a tile lies. `along`, rows are terms of the sum and have eight eights; else rows are the result's
// and have four. Exchanged so that eight threads that write a row, or read a column of eights, meet all banks.
template <bool along>
__device__ __forceinline__ int place_of_eight(int row, int eight) {
  return along ? row * 8 + (eight ^ (row & 7)) : row * 4 + (eight ^ (row >> 1 & 3));
}

// A thread's eights of a tile of one factor. The tile begins at column `at` of the result's side and at `depth` under
// the sum; what lies at `end` or beyond counts as zero. visit(which of the thread's, place, row, column, inside).
template <bool along, class Visit>
__device__ __forceinline__ void each_eight(int at, int depth, int end, const Visit& visit) {
#pragma unroll
  for (int i = 0; i < half_loads; ++i) {
    const int item = static_cast<int>(threadIdx.x) + i * product_threads;
    if constexpr (along) {
      const int row = item / 8, eight = item % 8;
      visit(i, place_of_eight<along>(row, eight), depth + row, at + eight * 8, depth + row < end);
    } else {
      const int row = item / 4, eight = item % 4;
      visit(i, place_of_eight<along>(row, eight), at + row, depth + eight * 8, depth + eight * 8 < end);
    }
  }
}

template <class T, bool along, class F>
__device__ __forceinline__ void copy_tile(const F& f, int at, int depth, int end, uint4* tile) {
  each_eight<along>(at, depth, end, [&](int, int place, int row, int column, bool inside) {
    copy_async(tile + place, inside ? eight_at<T>(f, row, column) : nullptr);
  });
}

// The same through registers, for what cannot be copied: eights off their alignment, GPUs before sm_80.
template <class T, bool along, class F>
__device__ __forceinline__ void fetch_tile(const F& f, int at, int depth, int end, bool direct,
                                           uint4 (&values)[half_loads]) {
  each_eight<along>(at, depth, end, [&](int i, int, int row, int column, bool inside) {
    values[i] = make_uint4(0, 0, 0, 0);
    if (!inside) return;
    if constexpr (!is_made<F>) {
      if (direct) {
        const T* from = eight_at<T>(f, row, column);
        if (from != nullptr) values[i] = *reinterpret_cast<const uint4*>(from);
        return;
      }
    }
    T elements[8];
    gather_eight<T>(f, row, column, elements);
    memcpy(&values[i], elements, sizeof elements);
  });
}
template <bool along>
__device__ __forceinline__ void store_tile(const uint4 (&values)[half_loads], uint4* tile) {
  each_eight<along>(0, 0, 0, [&](int i, int place, int, int, bool) { tile[place] = values[i]; });
}

// The four 8 x 8 matrices of a 16 x 16 block at `side` and `depth`, of which side comes first in a left factor's
// fragment and depth in a right one's.
template <bool along, bool left>
__device__ __forceinline__ void load_block(const uint4* tile, int side, int depth, uint32_t (&block)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, first = lane / 8 % 2 * 8, second = lane / 16 * 8;
  side += left ? first : second;
  depth += left ? second : first;
  const int row = (along ? depth : side) + lane % 8, eight = (along ? side : depth) / 8;
  load_matrices<along>(block, tile + place_of_eight<along>(row, eight));
}

// sums += left^T right over one staged step; each warp has 32 x 32 elements, sums[4 * i + j] is its fragment of 16 rows
// and 8 columns, as multiply_step_tf32 has it.
template <class T, bool left_along, bool right_along>
__device__ __forceinline__ void multiply_step_halves(const uint4* left, const uint4* right, float (&sums)[8][4]) {
  const int warp = static_cast<int>(threadIdx.x) / 32, row = warp / 2 * 32, column = warp % 2 * 32;
#pragma unroll
  for (int k = 0; k < half_step; k += 16) {
    uint32_t a[2][4], b[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) load_block<left_along, true>(left, row + 16 * i, k, a[i]);
#pragma unroll
    for (int j = 0; j < 2; ++j) load_block<right_along, false>(right, column + 16 * j, k, b[j]);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) mma_halves<T>(sums[4 * i + j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }
}

// sums += left^T right over [depth, end), in fragments, for `arrange`. `direct`: eights of both factors lie on 16
// bytes. The left factor may be made, the right one not.
template <class T, bool left_along, bool right_along, class Left, class Right>
__device__ __forceinline__ void multiply_halves(const Left& left, const Right& right, int row, int column, int depth,
                                                int end, bool direct, HalfBuffers& buffers, float (&sums)[8][4]) {
  const bool copies = has_async_copy && direct;
  uint4 next_a[half_loads], next_b[half_loads];
  const auto fetch_left = [&](int at) { fetch_tile<T, left_along>(left, row, at, end, direct, next_a); };
  const auto store_left = [&](int stage) { store_tile<left_along>(next_a, buffers.left(stage)); };
  const auto fetch_next = [&](int at) {
    fetch_left(at);
    fetch_tile<T, right_along>(right, column, at, end, direct, next_b);
  };
  const auto store_next = [&](int stage) {
    store_left(stage);
    store_tile<right_along>(next_b, buffers.right(stage));
  };
  const auto copy_next = [&](int at, int stage) {
    if constexpr (!is_made<Left>) copy_tile<T, left_along>(left, row, at, end, buffers.left(stage));
    copy_tile<T, right_along>(right, column, at, end, buffers.right(stage));
  };
  int ahead = depth;
#pragma unroll 1  // less code, and it runs once
  for (int stage = 0; stage < half_stages - 1; ++stage, ahead += half_step) {
    if (copies) {
      if (ahead < end) copy_next(ahead, stage);
      commit_copies();
      if constexpr (is_made<Left>) {
        if (ahead < end) {
          fetch_left(ahead);
          store_left(stage);
        }
      }
    } else if (ahead < end) {
      fetch_next(ahead);
      store_next(stage);
    }
  }
  int stage = 0;
  for (; depth < end; depth += half_step, ahead += half_step) {
    if (copies) wait_copies<half_stages - 2>();
    __syncthreads();  // one a step: its copies are there, and nobody reads the buffer that is filled next
    const int next = stage == 0 ? half_stages - 1 : stage - 1;
    const bool more = ahead < end;
    if (copies) {
      if (more) copy_next(ahead, next);
      commit_copies();
      if constexpr (is_made<Left>) {
        if (more) fetch_left(ahead);
      }
    } else if (more) {
      fetch_next(ahead);
    }
    multiply_step_halves<T, left_along, right_along>(buffers.left(stage), buffers.right(stage), sums);
    if constexpr (is_made<Left>) {
      if (copies && more) store_left(next);
    }
    if (!copies && more) store_next(next);
    stage = stage == half_stages - 1 ? 0 : stage + 1;
  }
}

// What the product of two factors of T is staged in.
template <class T>
using AlikeBuffers = std::conditional_t<sizeof(T) == 2 && has_half_products<T>, HalfBuffers, ProductBuffers>;

// The product of two factors of T: halves as they are where the GPU multiplies them, else as floats, in tf32 with
// `tensor`. The sums are those of the thread's own 8 x 4 elements.
template <class T, bool left_along, bool right_along, bool tensor = false, class Left, class Right>
__device__ __forceinline__ void multiply_alike(const Left& left, const Right& right, int row, int column, int depth,
                                               int end, bool eights, AlikeBuffers<T>& buffers, float (&sums)[8][4]) {
  if constexpr (sizeof(T) == 2 && has_half_products<T>) {
    multiply_halves<T, left_along, right_along>(left, right, row, column, depth, end, eights, buffers, sums);
    arrange(buffers, sums);
  } else {
    multiply_tile<T, left_along, T, right_along, tensor>(left, right, row, column, depth, end, buffers, sums);
    if constexpr (tensor && has_tf32) arrange(buffers, sums);
  }
}
template <class T, bool left_along, bool right_along, bool tensor = false, class Left, class Right>
__device__ __forceinline__ void multiply_alike(const Left& left, const Right& right, int row, int column, int depth,
                                               int end, bool eights, float (&sums)[8][4]) {
  __shared__ AlikeBuffers<T> buffers;
  multiply_alike<T, left_along, right_along, tensor>(left, right, row, column, depth, end, eights, buffers, sums);
}

}  // namespace spinecore::cuda
