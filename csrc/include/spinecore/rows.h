// Loops over rows of floats in memory, vector by vector. In the namespace of the instruction set, like simd.h.
#pragma once

#include <cstdint>
#include <type_traits>

#include "spinecore/simd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

SPINECORE_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// How a vector of a row is read and written: whole, whole and past the caches, or only its first `count` lanes.
struct Whole {
  template <class T>
  SPINECORE_INLINE Vec get(const T* from) const {
    return load(from);
  }
  template <class T>
  SPINECORE_INLINE void put(T* to, Vec value) const {
    store(to, value);
  }
};
struct Streamed {
  template <class T>
  SPINECORE_INLINE Vec get(const T* from) const {
    return load(from);
  }
  template <class T>
  SPINECORE_INLINE void put(T* to, Vec value) const {
    stream(to, value);
  }
};
struct Partial {
  int64_t count;
  template <class T>
  SPINECORE_INLINE Vec get(const T* from) const {
    return load_first(from, count);
  }
  template <class T>
  SPINECORE_INLINE void put(T* to, Vec value) const {
    store_first(to, value, count);
  }
};

template <class Access = Whole, class Length, class Body>
SPINECORE_INLINE void each_vector(Length length, const Body& body) {
  int64_t i = 0;
  for (; i + lanes <= length; i += lanes) body(i, Access{});
  if (i < length) body(i, Partial{length - i});
}

// Calls body(length), with these lengths as constants, so that their loops vanish.
template <int64_t... lengths, class Body>
SPINECORE_INLINE void with_constant_length(int64_t length, const Body& body) {
  const bool done = ((length == lengths && (body(std::integral_constant<int64_t, lengths>{}), true)) || ...);
  if (!done) body(length);
}

SPINECORE_INLINE void fill_zero(float* to, int64_t length) {
  each_vector(length, [&](int64_t i, auto access) { access.put(to + i, Vec{}); });
}

inline float dot(const float* a, const float* b, int64_t length) {
  Vec total{};
  each_vector(length, [&](int64_t i, auto access) { total += access.get(a + i) * access.get(b + i); });
  return sum(total);
}

// to += factor * from
SPINECORE_INLINE void add_scaled(float* to, float factor, const float* from, int64_t length) {
  each_vector(length,
              [&](int64_t i, auto access) { access.put(to + i, access.get(to + i) + factor * access.get(from + i)); });
}

// to[c] = scale * sum of rows of `partial` (rows, length), in double: rows are as many as x has chunks.
inline void sum_partials(const float* partial, int64_t rows, int64_t length, double scale, float* to) {
  constexpr int64_t block = 32;
  for (int64_t begin = 0; begin < length; begin += block) {
    const int64_t width = smaller(block, length - begin);
    double total[block] = {};
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < width; ++i) total[i] += static_cast<double>(partial[row * length + begin + i]);
    }
    for (int64_t i = 0; i < width; ++i) to[begin + i] = static_cast<float>(total[i] * scale);
  }
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
