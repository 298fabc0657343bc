// 1x1 convolution, backward: the gradients of x, weights and bias in one pass over the pixels. Arguments:
// spinecore/conv1x1.h.
#include "pointwise_backward.h"
#include "spinecore/conv1x1.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// In float32 over a unit, in double from there on.
void add_columns(int64_t count, const float* dy, int64_t out, float* memory, double* totals) {
  each_vector(out, [&](int64_t c, auto access) {
    Vec sums[2] = {};
    for (int64_t i = 0; i < count; ++i) sums[i % 2] += access.get(dy + i * out + c);
    access.put(memory + c, sums[0] + sums[1]);
  });
  for (int64_t c = 0; c < out; ++c) totals[c] += static_cast<double>(memory[c]);
}

template <class T>
bool run(const Conv1x1Backward& a) {
  const Parts parts(a.pixels, a.in, a.out);
  double* totals = reinterpret_cast<double*>(a.workspace);
  float* rest = reinterpret_cast<float*>(totals + parts.count * a.out);
  __builtin_memset(totals, 0, static_cast<size_t>(parts.count * a.out) * sizeof(double));
  const T* dy = static_cast<const T*>(a.dy);
  const bool done = pointwise_gradients<T>(
      {a.pixels, a.in, a.out, a.x, a.w, a.dx, a.dw, rest, a.no_memory},
      [&](int64_t first, int64_t count, float* memory) { return as_floats(dy + first * a.out, count * a.out, memory); },
      [&](int64_t part, int64_t count, const float* grad, float* memory) {
        add_columns(count, grad, a.out, memory, totals + part * a.out);
      });
  for (int64_t o = 0; o < a.out; ++o) {
    double total = 0.;
    for (int64_t part = 0; part < parts.count; ++part) total += totals[part * a.out + o];
    a.d_bias[o] = static_cast<float>(total);
  }
  return done;
}

bool backward(const Conv1x1Backward& a) { return a.dtype == DType::bfloat16 ? run<BFloat16>(a) : run<float>(a); }

int64_t workspace(int64_t pixels, int64_t in, int64_t out) {
  return 2 * Parts(pixels, in, out).count * out + gradients_workspace(pixels, in, out);
}

}  // namespace

extern const Conv1x1BackwardKernels conv1x1_backward_kernels;
const Conv1x1BackwardKernels conv1x1_backward_kernels{backward, workspace};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
