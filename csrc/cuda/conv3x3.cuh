// Convolution as a product of patches with weights: the patches are never stored, a factor reads them from the image.
#pragma once

#include "divisor.cuh"
#include "half_product.cuh"
#include "product.cuh"
#include "spinecore/cuda/conv3x3.h"

namespace spinecore::cuda {

// Rows are the pixels of all samples, columns (tap, channel); taps row by row. Channels-last.
struct Patches {
  const void* image;
  int rows, columns;  // as of every factor
  Divisor height, width, channels;
  bool vectors;  // channels are a multiple of four, and four may be read at once
};

// A value that the compiler knows nothing about: what follows from the columns of single elements is the same in every
// step, and spills if it is kept.
__device__ __forceinline__ int found_anew(int value) {
#if defined(__CUDA_ARCH__)
  asm volatile("" : "+r"(value));
#endif
  return value;
}

// The pixel of a row, and what its taps see.
template <class T>
struct Pixel {
  const Patches& p;
  int row, x, y;

  __device__ __forceinline__ Pixel(const Patches& patches, int pixel) : p(patches), row(pixel) {
    const int line = quotient(pixel, p.width);
    x = remainder_of(pixel, line, p.width);
    y = remainder_of(line, quotient(line, p.height), p.height);
  }

  // One channel of one tap, by the column of the patches; null outside of the image.
  __device__ __forceinline__ const T* at(int column) const {
    const int tap = quotient(column, p.channels), channel = remainder_of(column, tap, p.channels);
    const int down = tap / 3 - 1, across = tap % 3 - 1;
    if (y + down < 0 || y + down >= p.height.value || x + across < 0 || x + across >= p.width.value) return nullptr;
    const int64_t neighbour = int64_t{row} + down * p.width.value + across;
    return static_cast<const T*>(p.image) + neighbour * p.channels.value + channel;
  }
};

template <class T>
__device__ __forceinline__ void load_four(const Patches& p, int row, int column, float (&values)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) values[e] = 0.0f;
  if (row >= p.rows || column >= p.columns) return;
  const Pixel<T> pixel(p, row);
  if (p.vectors) {
    const T* from = pixel.at(column);
    if (from != nullptr) read_four(from, values);
  } else {
    column = found_anew(column);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const T* from = column + e < p.columns ? pixel.at(column + e) : nullptr;
      if (from != nullptr) values[e] = to_float(*from);
    }
  }
}

template <class T>
__device__ __forceinline__ const T* eight_at(const Patches& p, int row, int column) {
  return row < p.rows && column < p.columns ? Pixel<T>(p, row).at(column) : nullptr;
}
template <class T>
__device__ __forceinline__ void gather_eight(const Patches& p, int row, int column, T (&out)[8]) {
  const Pixel<T> pixel(p, row);
  column = found_anew(column);
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    const T* from = row < p.rows && column + e < p.columns ? pixel.at(column + e) : nullptr;
    if (from != nullptr) {
      out[e] = *from;
    } else {
      from_float(0.0f, out[e]);
    }
  }
}

// Four elements of one pixel of an image, or zeros where there is none.
template <class T>
__device__ __forceinline__ void read_pixel(const void* image, int channels, bool vectors, int row, int column,
                                           float (&values)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) values[e] = 0.0f;
  if (image == nullptr) return;
  const T* from = static_cast<const T*>(image) + static_cast<int64_t>(row) * channels + column;
  if (vectors) {
    read_four(from, values);
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (column + e < channels) values[e] = to_float(from[e]);
    }
  }
}

// vectors: four channels of every image that is read or written here may be at once; eights: eight of the factors.
template <class T, bool tensor>
__global__ void __launch_bounds__(product_threads, half_blocks)
    convolve(Patches patches, Factor weights, Conv3x3Plan plan, Conv3x3Pointers p, bool vectors, bool eights) {
  const int2 place = place_of(plan.forward, static_cast<int>(blockIdx.x));
  const int first = place.x * product_tile, column = place.y * product_tile + own_column();
  float sums[8][4] = {};
  multiply_alike<T, false, false, tensor>(patches, weights, first, place.y * product_tile, 0, patches.columns, eights,
                                          sums);
  if (column >= plan.out) return;
  float scale[4], shift[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const bool inside = column + j < plan.out;
    scale[j] = p.scale != nullptr && inside ? p.scale[column + j] : 1.0f;
    shift[j] = p.shift != nullptr && inside ? p.shift[column + j] : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = first + own_row() + i;
    if (row >= patches.rows) break;
    float addend[4], before[4], after[4];
    read_pixel<T>(p.addend, plan.out, vectors, row, column, addend);
#pragma unroll
    for (int j = 0; j < 4; ++j) sums[i][j] += addend[j];
    if (p.raw != nullptr) write_row(static_cast<T*>(p.raw), plan.out, vectors, row, column, sums[i]);
    if (p.y == nullptr) continue;
    read_pixel<T>(p.before, plan.out, vectors, row, column, before);
    read_pixel<T>(p.after, plan.out, vectors, row, column, after);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float value = scale[j] * sums[i][j] + shift[j] + before[j];
      if (p.relu) value = value < 0.0f ? 0.0f : value;  // a NaN stays one
      sums[i][j] = value + after[j];
    }
    write_row(static_cast<T*>(p.y), plan.out, vectors, row, column, sums[i]);
  }
}

}  // namespace spinecore::cuda
