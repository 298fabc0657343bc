// Memory of exactly the right size for the drivers: malloc'ed, so that the first byte beyond it is nobody's.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "spinecore/cuda/element.h"

struct Floats {
  explicit Floats(int64_t count, bool fill = false)
      : size(count), data(static_cast<float*>(std::malloc(4 * count + (count == 0)))) {
    for (int64_t i = 0; i < count; ++i)
      data[i] = fill ? static_cast<float>(std::sin(0.7 * static_cast<double>(i))) : NAN;
  }
  Floats(const Floats&) = delete;
  ~Floats() { std::free(data); }
  bool finite() const {
    for (int64_t i = 0; i < size; ++i) {
      if (!std::isfinite(data[i])) return false;
    }
    return true;
  }
  int64_t size;
  float* data;
};

// Of any element type, filled.
struct Elements {
  using Element = spinecore::cuda::Element;
  Elements(int64_t count, Element element) : data(std::malloc(count * (element == Element::float32 ? 4 : 2))) {
    for (int64_t i = 0; i < count; ++i) {
      const auto value = static_cast<float>(std::cos(0.3 * static_cast<double>(i) + 1e-4 * static_cast<double>(i * i)));
      if (element == Element::float32) {
        static_cast<float*>(data)[i] = value;
      } else if (element == Element::float16) {
        static_cast<_Float16*>(data)[i] = static_cast<_Float16>(value);
      } else {
        uint32_t bits = 0;
        std::memcpy(&bits, &value, 4);
        static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(bits >> 16);
      }
    }
  }
  Elements(const Elements&) = delete;
  ~Elements() { std::free(data); }
  bool finite(int64_t count, Element element) const {
    for (int64_t i = 0; i < count; ++i) {
      const uint16_t half = static_cast<const uint16_t*>(data)[i];
      const uint16_t exponent = element == Element::float16 ? 0x7c00 : 0x7f80;
      const bool whole = element == Element::float32 ? std::isfinite(static_cast<const float*>(data)[i])
                                                     : (half & exponent) != exponent;
      if (!whole) return false;
    }
    return true;
  }
  void* data;
};

// The status of a call, on stderr where it is a complaint.
inline bool answered(const spinecore::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message.c_str());
  return status.ok();
}
