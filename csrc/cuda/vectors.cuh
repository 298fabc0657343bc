// Sixteen bytes of a tensor at a time, as floats.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace spinecore::cuda {

template <class T>
inline constexpr int width_of = 16 / static_cast<int>(sizeof(T));

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float to_float(__half value) { return __half2float(value); }

__device__ __forceinline__ void from_float(float value, float& result) { result = value; }
__device__ __forceinline__ void from_float(float value, __nv_bfloat16& result) { result = __float2bfloat16(value); }
__device__ __forceinline__ void from_float(float value, __half& result) { result = __float2half(value); }

// `lanes` threads read a row together, width_of<T> elements each. Element `e` of thread `lane` lies here: side by side
// where rows are aligned to 16 bytes, else interleaved, so that neighbouring threads read neighbouring elements.
template <bool aligned, int width>
__device__ __forceinline__ int position(int lane, int lanes, int e) {
  return aligned ? lane * width + e : e * lanes + lane;
}

// The thread's elements of row[0, count); zeros beyond. Where aligned, count is a multiple of the width.
template <bool aligned, class T>
__device__ __forceinline__ void load(const T* row, int lane, int lanes, int count, float (&values)[width_of<T>]) {
  constexpr int width = width_of<T>;
  if constexpr (aligned) {
    uint4 raw = make_uint4(0, 0, 0, 0);
    if (lane * width < count) raw = *reinterpret_cast<const uint4*>(row + lane * width);
    T elements[width];
    memcpy(elements, &raw, sizeof raw);
#pragma unroll
    for (int e = 0; e < width; ++e) values[e] = to_float(elements[e]);
  } else {
#pragma unroll
    for (int e = 0; e < width; ++e) {
      const int at = position<aligned, width>(lane, lanes, e);
      values[e] = at < count ? to_float(row[at]) : 0.0f;
    }
  }
}

// width floats from memory that is aligned to 16 bytes (width 4 or 8), or one.
template <int width>
__device__ __forceinline__ void load_floats(const float* from, float (&values)[width]) {
  if constexpr (width == 1) {
    values[0] = *from;
  } else {
#pragma unroll
    for (int e = 0; e < width; e += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + e);
      values[e] = four.x;
      values[e + 1] = four.y;
      values[e + 2] = four.z;
      values[e + 3] = four.w;
    }
  }
}

// width elements at once: 16 bytes, or one element.
template <int width, class T>
__device__ __forceinline__ void load_elements(const T* from, float (&values)[width]) {
  if constexpr (width == 1) {
    values[0] = to_float(*from);
  } else {
    load<true>(from, 0, 1, width, values);
  }
}

template <int width, class T>
__device__ __forceinline__ void store_elements(T* to, const float (&values)[width]) {
  if constexpr (width == 1) {
    from_float(values[0], *to);
  } else {
    T elements[width];
#pragma unroll
    for (int e = 0; e < width; ++e) from_float(values[e], elements[e]);
    uint4 raw;
    memcpy(&raw, elements, sizeof raw);
    *reinterpret_cast<uint4*>(to) = raw;
  }
}

}  // namespace spinecore::cuda
