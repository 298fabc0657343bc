// What the drivers of all kernels share: tensors in allocations of exactly their size, so that one element too far is
// an error for the sanitizers, and the list of drivers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "spinecore/cpu_features.h"
#include "spinecore/tensor_view.h"

namespace spinecore::driver {

inline std::mt19937 generator(1);
inline std::normal_distribution<float> normal;

struct Buffer {
  TensorView view;
  std::vector<char> memory;

  Buffer(const char* name, std::vector<int64_t> shape, DType dtype = DType::float32, bool channels_last = false,
         int shift = 0) {
    view.name = name;
    view.dtype = dtype;
    view.on_cpu = true;
    view.dims = static_cast<int>(shape.size());
    int64_t step = 1;
    for (int i = view.dims - 1; i >= 0; --i) {
      view.shape[i] = shape[i];
      view.strides[i] = step;
      step *= shape[i];
    }
    if (channels_last) {
      const int64_t c = shape[1], h = shape[2], w = shape[3];
      const int64_t strides[] = {h * w * c, 1, w * c, c};
      std::memcpy(view.strides, strides, sizeof(strides));
    }
    memory.resize(static_cast<size_t>(view.bytes() + shift * element()));
    view.data = memory.data() + shift * element();
  }
  // The view points into the vector.
  Buffer(Buffer&&) = default;
  Buffer(const Buffer&) = delete;

  int64_t element() const { return view.dtype == DType::bfloat16 ? 2 : 4; }

  float get(int64_t i) const {
    if (view.dtype == DType::float32) return view.floats()[i];
    const uint32_t bits = static_cast<uint32_t>(static_cast<uint16_t*>(view.data)[i]) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
  void set(int64_t i, float value) {
    if (view.dtype == DType::float32) {
      view.floats()[i] = value;
      return;
    }
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    static_cast<uint16_t*>(view.data)[i] = static_cast<uint16_t>(bits >> 16);
  }
  Buffer& randomise() {
    for (int64_t i = 0; i < view.numel(); ++i) set(i, normal(generator));
    return *this;
  }
  Buffer& poison() {
    for (int64_t i = 0; i < view.numel(); ++i) set(i, std::numeric_limits<float>::quiet_NaN());
    return *this;
  }
};

inline void require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  std::exit(1);
}

// Runs one operator over its shapes with the selected instruction set and returns how many runs that were; `only_large`
// leaves out what one thread would do alone.
using Driver = int (*)(bool only_large);

inline std::vector<Driver>& drivers() {
  static std::vector<Driver> all;
  return all;
}

struct Register {
  explicit Register(Driver driver) { drivers().push_back(driver); }
};

}  // namespace spinecore::driver
