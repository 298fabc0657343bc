// 1x1 convolution with batch normalisation: the kernels, compiled once per instruction set. Equations and arguments:
// spinecore/conv1x1_bn.h.
//
// Forward, z and its statistics are one pass and y is another; backward, one pass sums what the normalisation needs and
// the other computes the gradient of z block by block, where the gradients of x and w read it.
#include "spinecore/conv1x1_bn.h"

#include "pointwise_backward.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Two doubles a channel and part: mean and sum of squared deviations, or two sums.
struct Totals {
  double *first, *second;

  Totals(double* memory, int64_t part, int64_t out) : first(memory + 2 * part * out), second(first + out) {}
};
SPINECORE_INLINE double* doubles(const Conv1x1Bn& a) { return reinterpret_cast<double*>(a.workspace); }
SPINECORE_INLINE int64_t totals_floats(const Parts& parts, int64_t out) { return 4 * parts.count * out; }

// Scale and shift of every channel, and more where they are needed: rows of `out` floats in the workspace.
constexpr int64_t rows_kept = 4;
SPINECORE_INLINE float* kept_rows(const Conv1x1Bn& a, const Parts& parts) {
  return a.workspace + totals_floats(parts, a.out);
}
SPINECORE_INLINE float* rest(const Conv1x1Bn& a, const Parts& parts) { return kept_rows(a, parts) + rows_kept * a.out; }

template <class T>
T* at(void* image, int64_t index) {
  return static_cast<T*>(image) + index;
}
template <class T>
const T* at(const void* image, int64_t index) {
  return static_cast<const T*>(image) + index;
}

// Statistics of (before + count) values from those of two sets (Chan, Golub, LeVeque 1983).
SPINECORE_INLINE void merge(double before, double count, double mean, double squares, double* to_mean,
                            double* to_squares) {
  const double all = before + count, apart = mean - *to_mean;
  *to_mean += apart * count / all;
  *to_squares += squares + apart * apart * before * count / all;
}

// Of the columns of `count` rows: means, and squared deviations from them, which lose no digits however far from zero.
void add_statistics(const float* z, int64_t count, int64_t out, int64_t before, float* memory, const Totals& to) {
  const float share = 1.f / static_cast<float>(count);
  each_vector(out, [&](int64_t c, auto access) {
    Vec total{}, squares{};
    for (int64_t i = 0; i < count; ++i) total += access.get(z + i * out + c);
    const Vec mean = total * share;
    for (int64_t i = 0; i < count; ++i) {
      const Vec apart = access.get(z + i * out + c) - mean;
      squares += apart * apart;
    }
    access.put(memory + c, mean);
    access.put(memory + out + c, squares);
  });
  for (int64_t c = 0; c < out; ++c) {
    merge(static_cast<double>(before), static_cast<double>(count), static_cast<double>(memory[c]),
          static_cast<double>(memory[out + c]), to.first + c, to.second + c);
  }
}

int64_t pixels_of(const Parts& parts, int64_t part, int64_t pixels) {
  return smaller(parts.begin(part + 1) * unit, pixels) - parts.begin(part) * unit;
}

void scale_and_shift(const Conv1x1Bn& a, const float* mean, const float* inverse, float* scale, float* shift) {
  for (int64_t c = 0; c < a.out; ++c) {
    scale[c] = inverse[c] * a.gamma[c];
    shift[c] = a.beta[c] - mean[c] * scale[c];
  }
}

template <class T>
bool forward_of(const Conv1x1BnForward& call) {
  const Conv1x1Bn& a = call.unit;
  const Parts parts(a.pixels, a.in, a.out);
  double* totals = doubles(a);
  __builtin_memset(totals, 0, static_cast<size_t>(totals_floats(parts, a.out)) * sizeof(float));
  float *scale = kept_rows(a, parts), *shift = scale + a.out, *packed = rest(a, parts);
  pack_panels({a.w, a.in, a.out, packed});
  const int64_t wide = round_up(unit * a.in, lanes), results = wide + round_up(unit * a.out, lanes);
  const int64_t statistics = results + product_scratch(a.out);
  bool done = parallel_for(0, parts.count, 1, [&](int64_t begin, int64_t end) {
    float* memory = thread_scratch(statistics + 2 * a.out);
    if (memory == nullptr) return __atomic_store_n(a.no_memory, 1, __ATOMIC_RELAXED);
    BlockProduct product(a.in, a.out, packed, nullptr);
    for (int64_t part = begin; part < end; ++part) {
      const int64_t start = parts.begin(part) * unit, last = start + pixels_of(parts, part, a.pixels);
      for (int64_t first = start; first < last; first += unit) {
        const int64_t count = smaller(unit, last - first);
        const float* x = as_floats(at<T>(a.x, first * a.in), count * a.in, memory);
        T* z = at<T>(call.z, first * a.out);
        product.run(x, count, z, memory + results);
        const float* stored = as_floats(z, count * a.out, memory + wide);
        add_statistics(stored, count, a.out, first - start, memory + statistics, Totals(totals, part, a.out));
      }
    }
  });
  const Totals all(totals, 0, a.out);
  for (int64_t c = 0; c < a.out; ++c) {
    int64_t before = pixels_of(parts, 0, a.pixels);
    for (int64_t part = 1; part < parts.count; ++part) {
      const Totals more(totals, part, a.out);
      const int64_t count = pixels_of(parts, part, a.pixels);
      merge(static_cast<double>(before), static_cast<double>(count), more.first[c], more.second[c], all.first + c,
            all.second + c);
      before += count;
    }
    const double variance = all.second[c] / static_cast<double>(a.pixels);
    call.mean[c] = static_cast<float>(all.first[c]);
    call.variance[c] = static_cast<float>(variance);
    call.inverse[c] = static_cast<float>(1. / __builtin_sqrt(variance + call.eps));
  }
  scale_and_shift(a, call.mean, call.inverse, scale, shift);
  const Vec least = splat(a.relu ? 0.f : -__builtin_inff());
  return parallel_for(0, a.pixels, 1 + (int64_t{1} << 14) / (1 + a.out),
                      [&](int64_t begin, int64_t end) {
                        for (int64_t i = begin; i < end; ++i) {
                          const T* z = at<T>(call.z, i * a.out);
                          T* y = at<T>(call.y, i * a.out);
                          each_vector(a.out, [&](int64_t c, auto access) {
                            const Vec value = access.get(z + c) * access.get(scale + c) + access.get(shift + c);
                            access.put(y + c, value < least ? least : value);
                          });
                        }
                      }) &&
         done;
}

template <class T>
bool backward_of(const Conv1x1BnBackward& call) {
  const Conv1x1Bn& a = call.unit;
  const Parts parts(a.pixels, a.in, a.out);
  double* totals = doubles(a);
  __builtin_memset(totals, 0, static_cast<size_t>(totals_floats(parts, a.out)) * sizeof(float));
  float *scale = kept_rows(a, parts), *shift = scale + a.out, *slope = shift + a.out, *level = slope + a.out;
  scale_and_shift(a, call.mean, call.inverse, scale, shift);
  const Vec least = splat(a.relu ? 0.f : -__builtin_inff());
  // dy where the activation let it pass.
  const auto passed = [&](const T* dy, const T* z, int64_t i, int64_t c, auto access) {
    const Vec value = access.get(z + i * a.out + c) * access.get(scale + c) + access.get(shift + c);
    return value <= least ? Vec{} : access.get(dy + i * a.out + c);
  };
  bool done = parallel_for(0, parts.count, 1, [&](int64_t begin, int64_t end) {
    float* memory = thread_scratch(2 * a.out);
    if (memory == nullptr) return __atomic_store_n(a.no_memory, 1, __ATOMIC_RELAXED);
    for (int64_t part = begin; part < end; ++part) {
      const Totals to(totals, part, a.out);
      const int64_t start = parts.begin(part) * unit, last = start + pixels_of(parts, part, a.pixels);
      for (int64_t first = start; first < last; first += unit) {
        const int64_t count = smaller(unit, last - first);
        const T *dy = at<T>(call.dy, first * a.out), *z = at<T>(call.z, first * a.out);
        each_vector(a.out, [&](int64_t c, auto access) {
          Vec total{}, moment{};
          const Vec mean = access.get(call.mean + c);
          for (int64_t i = 0; i < count; ++i) {
            const Vec g = passed(dy, z, i, c, access);
            total += g;
            moment += g * (access.get(z + i * a.out + c) - mean);
          }
          access.put(memory + c, total);
          access.put(memory + a.out + c, moment);
        });
        for (int64_t c = 0; c < a.out; ++c) {
          to.first[c] += static_cast<double>(memory[c]);
          to.second[c] += static_cast<double>(memory[a.out + c]);
        }
      }
    }
  });
  for (int64_t c = 0; c < a.out; ++c) {
    double total = 0., moment = 0.;
    for (int64_t part = 0; part < parts.count; ++part) {
      total += Totals(totals, part, a.out).first[c];
      moment += Totals(totals, part, a.out).second[c];
    }
    const double inverse = static_cast<double>(call.inverse[c]), share = 1. / static_cast<double>(a.pixels);
    call.d_beta[c] = static_cast<float>(total);
    call.d_gamma[c] = static_cast<float>(moment * inverse);
    // dz = scale (g - mean of g - (z - mean) inverse^2 mean of g (z - mean))
    slope[c] = static_cast<float>(inverse * inverse * moment * share);
    level[c] = static_cast<float>(total * share);
  }
  return pointwise_gradients<T>(
             {a.pixels, a.in, a.out, a.x, a.w, call.dx, call.dw, rest(a, parts), a.no_memory},
             [&](int64_t first, int64_t count, float* memory) {
               const T *dy = at<T>(call.dy, first * a.out), *z = at<T>(call.z, first * a.out);
               for (int64_t i = 0; i < count; ++i) {
                 each_vector(a.out, [&](int64_t c, auto access) {
                   const Vec apart = access.get(z + i * a.out + c) - access.get(call.mean + c);
                   const Vec g = passed(dy, z, i, c, access) - access.get(level + c) - apart * access.get(slope + c);
                   access.put(memory + i * a.out + c, access.get(scale + c) * g);
                 });
               }
               return static_cast<const float*>(memory);
             },
             [](int64_t, int64_t, const float*, float*) {}) &&
         done;
}

bool forward(const Conv1x1BnForward& a) {
  return a.unit.dtype == DType::bfloat16 ? forward_of<BFloat16>(a) : forward_of<float>(a);
}
bool backward(const Conv1x1BnBackward& a) {
  return a.unit.dtype == DType::bfloat16 ? backward_of<BFloat16>(a) : backward_of<float>(a);
}

int64_t workspace(int64_t pixels, int64_t in, int64_t out) {
  const Parts parts(pixels, in, out);
  return totals_floats(parts, out) + rows_kept * out +
         larger(packed_floats(in, out), gradients_workspace(pixels, in, out));
}

}  // namespace

extern const Conv1x1BnKernels conv1x1_bn_kernels;
const Conv1x1BnKernels conv1x1_bn_kernels{forward, backward, workspace};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
