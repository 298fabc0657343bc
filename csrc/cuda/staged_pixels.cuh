// Pixels of a channels-last image in shared memory.
#pragma once

#include "async_copy.cuh"
#include "vectors.cuh"

namespace spinecore::cuda {

// In units of 16 bytes, exchanged within a pixel so that eight pixels side by side meet all banks, whatever unit is
// read of them.
template <class T, int channels, int pixels>
struct StagedPixels {
  static constexpr int width = width_of<T>, units = channels / width, count = pixels;
  static_assert(units >= 2 && (units & (units - 1)) == 0, "the exchange is made for powers of two");
  alignas(16) uint4 data[pixels * units];

  __device__ __forceinline__ uint4* at(int pixel, int unit) {
    return data + pixel * units + (unit ^ (pixel * units / 8 & (units - 1)));
  }
  __device__ __forceinline__ const T& element(int pixel, int channel) {
    return reinterpret_cast<const T*>(at(pixel, channel / width))[channel % width];
  }
};

// A unit of `pixel` (its number in memory; -1 is outside of the image) from `channel` on; zeros outside and beyond
// the channels. `direct`: 16 bytes at once, which are there after wait_copies.
template <class T>
__device__ __forceinline__ void stage_unit(uint4* to, const T* image, int64_t pixel, int channel, int channels,
                                           bool direct) {
  const T* from = pixel < 0 || channel >= channels ? nullptr : image + pixel * channels + channel;
  if (has_async_copy && direct) {
    copy_async(to, from);
    return;
  }
  uint4 unit = make_uint4(0, 0, 0, 0);
  if (direct) {
    if (from != nullptr) unit = *reinterpret_cast<const uint4*>(from);
  } else if (from != nullptr) {
    T elements[width_of<T>];
#pragma unroll
    for (int e = 0; e < width_of<T>; ++e) {
      from_float(0.0f, elements[e]);
      if (channel + e < channels) elements[e] = from[e];
    }
    memcpy(&unit, elements, sizeof unit);
  }
  *to = unit;
}

}  // namespace spinecore::cuda
