// Gradients of a linear map of channels, of x and of the weights, in one pass over the pixels. What arrives from above
// is given as a function, so that it may be computed on the way.
#pragma once

#include "pointwise.h"
#include "spinecore/parallel.h"
#include "spinecore/scratch.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

constexpr int64_t unit = 2 * block_pixels;  // pixels whose x and dy stay in the caches while they are read three times

SPINECORE_INLINE int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }

// The units in parts that depend on sizes alone, each with sums of its own that are added up in order: results are the
// same for any number of threads.
struct Parts {
  int64_t units, count, row, weights;  // row: floats from one output channel's sums to the next

  Parts(int64_t pixels, int64_t in, int64_t out) : units((pixels + unit - 1) / unit), row(round_up(in, lanes)) {
    constexpr int64_t most_parts = 16, most_floats = int64_t{1} << 20;
    weights = out * row;
    count = smaller(larger(smaller(most_floats / (1 + weights), most_parts), 2), larger(units / 4, 1));
  }
  int64_t begin(int64_t part) const { return units * part / count; }
};

// Right factors are read in whole vectors: x as it lies where it consists of them, else copied between zeros.
SPINECORE_INLINE const float* in_whole_vectors(const float* x, int64_t count, int64_t in, int64_t row, float* memory) {
  if (in == row) return x;
  for (int64_t i = 0; i < count; ++i) {
    store(memory + i * row + row - lanes, Vec{});
    each_vector(in, [&](int64_t c, auto access) { access.put(memory + i * row + c, access.get(x + i * in + c)); });
  }
  return memory;
}

template <bool accumulate>
void add_products(int64_t count, const float* dy, int64_t out, const float* x, int64_t row, float* sums) {
  for (int64_t c = 0; c < row; c += panel_width) {
    const int64_t vectors = smaller(panel_width, row - c) / lanes;
    gemm_panel<accumulate, 1>(out, vectors, {count, dy, 1, out, x + c, row, sums + c, row});
  }
}

struct PointwiseBackward {
  int64_t pixels, in, out;
  const void* x;
  const float* w;
  void* dx;  // or nullptr
  float* dw;
  float* workspace;
  int* no_memory;
};

// Where one thread keeps what it works on: offsets in floats.
struct Memory {
  int64_t dy, vectors, product, all;

  Memory(const PointwiseBackward& a, const Parts& parts)
      : dy(round_up(unit * a.in, lanes)),
        vectors(dy + round_up(unit * a.out, lanes)),
        product(vectors + larger(unit * parts.row, round_up(a.out, lanes))),
        all(product + product_scratch(a.in)) {}
};

// The panels of w (out, in) as it lies: the products are sums over `out`.
inline void pack_rows(const PointwiseBackward& a, float* to) {
  for (int64_t column = 0; column < a.in; column += panel_width) {
    const int64_t real = smaller(panel_width, a.in - column);
    for (int64_t o = 0; o < a.out; ++o, to += round_up(real, lanes)) {
      each_vector(real, [&](int64_t i, auto access) { store(to + i, access.get(a.w + o * a.in + column + i)); });
    }
  }
}

inline int64_t gradients_workspace(int64_t pixels, int64_t in, int64_t out) {
  const Parts parts(pixels, in, out);
  return parts.count * parts.weights + packed_floats(out, in);
}

// gradient(first, count, memory): dy of `count` pixels as floats; memory for them is given. also(part, count, dy,
// memory) sees every block of dy, the blocks of a part in order.
template <class T, class Gradient, class Also>
bool pointwise_gradients(const PointwiseBackward& a, const Gradient& gradient, const Also& also) {
  const Parts parts(a.pixels, a.in, a.out);
  float *sums = a.workspace, *packed = sums + parts.count * parts.weights;
  if (a.dx != nullptr) pack_rows(a, packed);
  const T* x = static_cast<const T*>(a.x);
  T* dx = static_cast<T*>(a.dx);
  const Memory places(a, parts);
  const bool done = parallel_for(0, parts.count, 1, [&](int64_t begin, int64_t end) {
    float* memory = thread_scratch(places.all);
    if (memory == nullptr) return __atomic_store_n(a.no_memory, 1, __ATOMIC_RELAXED);
    BlockProduct product(a.out, a.in, packed, nullptr);
    for (int64_t part = begin; part < end; ++part) {
      for (int64_t u = parts.begin(part); u < parts.begin(part + 1); ++u) {
        const int64_t first = u * unit, count = smaller(unit, a.pixels - first);
        const float* dy = gradient(first, count, memory + places.dy);
        if (dx != nullptr) product.run(dy, count, dx + first * a.in, memory + places.product);
        const float* image = as_floats(x + first * a.in, count * a.in, memory);
        image = in_whole_vectors(image, count, a.in, parts.row, memory + places.vectors);
        if (u == parts.begin(part)) {
          add_products<false>(count, dy, a.out, image, parts.row, sums + part * parts.weights);
        } else {
          add_products<true>(count, dy, a.out, image, parts.row, sums + part * parts.weights);
        }
        also(part, count, dy, memory + places.vectors);
      }
    }
  });
  for (int64_t o = 0; o < a.out; ++o) {
    float* row = sums + o * parts.row;
    each_vector(a.in, [&](int64_t c, auto access) {
      Vec sum = access.get(row + c);
      for (int64_t part = 1; part < parts.count; ++part) sum += access.get(row + part * parts.weights + c);
      access.put(a.dw + o * a.in + c, sum);
    });
  }
  return done;
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
