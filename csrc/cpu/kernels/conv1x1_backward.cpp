// 1x1 convolution, backward: the gradients of x, weights and bias in one pass over the pixels. Arguments:
// spinecore/conv1x1.h.
#include "pointwise.h"
#include "spinecore/conv1x1.h"
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

// In float32 over a unit, in double from there on.
void add_columns(int64_t count, const float* dy, int64_t out, float* memory, double* totals) {
  each_vector(out, [&](int64_t c, auto access) {
    Vec sums[2] = {};
    for (int64_t i = 0; i < count; ++i) sums[i % 2] += access.get(dy + i * out + c);
    access.put(memory + c, sums[0] + sums[1]);
  });
  for (int64_t c = 0; c < out; ++c) totals[c] += static_cast<double>(memory[c]);
}

// Where one thread keeps what it works on: offsets in floats.
struct Memory {
  int64_t dy, vectors, product, all;

  Memory(const Conv1x1Backward& a, const Parts& parts)
      : dy(round_up(unit * a.in, lanes)),
        vectors(dy + round_up(unit * a.out, lanes)),
        product(vectors + larger(unit * parts.row, round_up(a.out, lanes))),
        all(product + product_scratch(a.in)) {}
};

void transpose_weights(const Conv1x1Backward& a, float* to) {
  for (int64_t i = 0; i < a.in; ++i) {
    for (int64_t o = 0; o < a.out; ++o) to[i * a.out + o] = a.w[o * a.in + i];
  }
}

template <class T>
bool run(const Conv1x1Backward& a) {
  const Parts parts(a.pixels, a.in, a.out);
  double* totals = reinterpret_cast<double*>(a.workspace);
  float *sums = reinterpret_cast<float*>(totals + parts.count * a.out), *packed = sums + parts.count * parts.weights;
  if (a.dx != nullptr) {
    float* turned = packed + packed_floats(a.out, a.in);
    transpose_weights(a, turned);
    pack_panels({turned, a.out, a.in, packed});
  }
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(a.dy);
  T* dx = static_cast<T*>(a.dx);
  const Memory places(a, parts);
  const bool done = parallel_for(0, parts.count, 1, [&](int64_t begin, int64_t end) {
    float* memory = thread_scratch(places.all);
    if (memory == nullptr) return __atomic_store_n(a.no_memory, 1, __ATOMIC_RELAXED);
    BlockProduct product(a.out, a.in, packed, nullptr);
    for (int64_t part = begin; part < end; ++part) {
      double* columns = totals + part * a.out;
      for (int64_t o = 0; o < a.out; ++o) columns[o] = 0.;
      for (int64_t u = parts.begin(part); u < parts.begin(part + 1); ++u) {
        const int64_t first = u * unit, count = smaller(unit, a.pixels - first);
        const float* grad = as_floats(dy + first * a.out, count * a.out, memory + places.dy);
        if (dx != nullptr) product.run(grad, count, dx + first * a.in, memory + places.product);
        const float* image = as_floats(x + first * a.in, count * a.in, memory);
        image = in_whole_vectors(image, count, a.in, parts.row, memory + places.vectors);
        if (u == parts.begin(part)) {
          add_products<false>(count, grad, a.out, image, parts.row, sums + part * parts.weights);
        } else {
          add_products<true>(count, grad, a.out, image, parts.row, sums + part * parts.weights);
        }
        add_columns(count, grad, a.out, memory + places.vectors, columns);
      }
    }
  });
  for (int64_t o = 0; o < a.out; ++o) {
    double total = 0.;
    for (int64_t part = 0; part < parts.count; ++part) total += totals[part * a.out + o];
    a.d_bias[o] = static_cast<float>(total);
    float* row = sums + o * parts.row;
    each_vector(a.in, [&](int64_t c, auto access) {
      Vec sum = access.get(row + c);
      for (int64_t part = 1; part < parts.count; ++part) sum += access.get(row + part * parts.weights + c);
      access.put(a.dw + o * a.in + c, sum);
    });
  }
  return done;
}

bool backward(const Conv1x1Backward& a) { return a.dtype == DType::bfloat16 ? run<BFloat16>(a) : run<float>(a); }

int64_t workspace(int64_t pixels, int64_t in, int64_t out) {
  const Parts parts(pixels, in, out);
  return parts.count * (2 * out + parts.weights) + packed_floats(out, in) + in * out;
}

}  // namespace

extern const Conv1x1BackwardKernels conv1x1_backward_kernels;
const Conv1x1BackwardKernels conv1x1_backward_kernels{backward, workspace};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
