// A matrix as one factor of a product, read four elements at a time as floats.
#pragma once

#include <type_traits>

#include "feature_products.h"
#include "vectors.cuh"

namespace spinecore::cuda {

// Four elements side by side: 16 or 8 bytes.
template <class T>
__device__ __forceinline__ void read_four(const T* from, float (&values)[4]) {
  if constexpr (sizeof(T) == 4) {
    const float4 raw = *reinterpret_cast<const float4*>(from);
    memcpy(values, &raw, sizeof raw);
  } else {
    const uint2 raw = *reinterpret_cast<const uint2*>(from);
    T elements[4];
    memcpy(elements, &raw, sizeof raw);
#pragma unroll
    for (int e = 0; e < 4; ++e) values[e] = to_float(elements[e]);
  }
}

template <class T>
__device__ __forceinline__ void write_four(T* to, const float (&values)[4]) {
  if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1], values[2], values[3]);
  } else {
    T elements[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) from_float(values[e], elements[e]);
    uint2 raw;
    memcpy(&raw, elements, sizeof raw);
    *reinterpret_cast<uint2*>(to) = raw;
  }
}

// A bfloat16 or float16; the factor says which. One kernel for both, where products in float32 hide the question.
struct Half {
  uint16_t bits;
};

template <class T>
__device__ __forceinline__ void read_four_of(const T* from, Element element, float (&values)[4]) {
  if constexpr (!std::is_same_v<T, Half>) {
    read_four(from, values);
  } else if (element == Element::bfloat16) {
    read_four(reinterpret_cast<const __nv_bfloat16*>(from), values);
  } else {
    read_four(reinterpret_cast<const __half*>(from), values);
  }
}
template <class T>
__device__ __forceinline__ float read_one_of(const T* from, Element element) {
  if constexpr (!std::is_same_v<T, Half>) {
    return to_float(*from);
  } else if (element == Element::bfloat16) {
    return to_float(*reinterpret_cast<const __nv_bfloat16*>(from));
  } else {
    return to_float(*reinterpret_cast<const __half*>(from));
  }
}

// (row, column) to (row, column + 3) of the factor; zeros outside of it, and rows of weight zero whatever they hold.
template <class T>
__device__ __forceinline__ void load_four(const Factor& f, int row, int column, float (&values)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) values[e] = 0.0f;
  if (row >= f.rows || column >= f.columns) return;
  float weight = f.weights != nullptr ? f.weights[row] : 1.0f;
  if (weight == 0.0f) return;
  if (f.mask_only) weight = 1.0f;
  const T* from = static_cast<const T*>(f.data) + static_cast<int64_t>(row) * f.columns + column;
  float mean[4] = {}, low[4] = {};
  if (f.vectors) {  // then the columns are a multiple of four
    read_four_of(from, f.element, values);
    if (f.mean != nullptr) {
      read_four(f.mean + column, mean);
      read_four(f.mean_low + column, low);
    }
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (column + e >= f.columns) break;
      values[e] = read_one_of(from + e, f.element);
      if (f.mean != nullptr) {
        mean[e] = f.mean[column + e];
        low[e] = f.mean_low[column + e];
      }
    }
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    values[e] = ((values[e] - mean[e]) - low[e]) * weight;
    if (f.without_diagonal && row == column + e) values[e] = 0.0f;
  }
}

// The factor of one of several samples that follow one another.
template <class T>
__device__ __forceinline__ Factor of_sample(Factor f, int64_t sample) {
  f.data = static_cast<const T*>(f.data) + sample * f.rows * f.columns;
  if (f.weights != nullptr) f.weights += sample * f.rows;
  return f;
}

// Four elements of a row-major matrix; those beyond its columns are left out.
template <class T>
__device__ __forceinline__ void write_row(T* result, int columns, bool vectors, int row, int column,
                                          const float (&values)[4]) {
  T* to = result + static_cast<int64_t>(row) * columns + column;
  if (vectors) {
    write_four(to, values);
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (column + e < columns) from_float(values[e], to[e]);
    }
  }
}

}  // namespace spinecore::cuda
