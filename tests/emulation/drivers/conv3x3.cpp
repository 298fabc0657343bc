// The CUDA 3x3 convolution on buffers of exactly the right size, for the sanitizers.
#include "spinecore/cuda/conv3x3.h"

#include "buffers.h"
#include "divisor.cuh"

namespace {

using namespace spinecore;

bool run(int n, int height, int width, int in, int out, cuda::Element element, bool tf32) {
  const int64_t pixels = int64_t{n} * height * width;
  const Elements x(pixels * in, element), w(int64_t{out} * 9 * in, element), addend(pixels * out, element),
      before(pixels * out, element), after(pixels * out, element), raw(pixels * out, element), y(pixels * out, element);
  const auto plan = cuda::conv3x3_plan(n, height, width, in, out, element, tf32);
  const Floats scale(out, true), shift(out, true), dw(int64_t{out} * 9 * in), workspace(plan.workspace);
  bool ok = answered(cuda::conv3x3_forward(
      plan, {x.data, w.data, scale.data, shift.data, addend.data, before.data, after.data, raw.data, y.data, true},
      nullptr));
  ok = ok && answered(cuda::conv3x3_weights(plan, x.data, y.data, dw.data, workspace.data, nullptr));
  return ok && (dw.finite() || answered(Status::internal("a gradient is not finite")));
}

// Every small divisor and some large ones, at and around the multiples where a quotient changes.
bool divisions() {
  const auto right = [](int64_t n, int d) {
    return n < 0 || n > 0x7fffffff || cuda::quotient(static_cast<int>(n), cuda::divisor_of(d)) == n / d;
  };
  for (int64_t d = 1; d <= 0x7fffffff; d = d < 3000 ? d + 1 : d * 3 / 2 + 1) {
    for (const int64_t multiple : {int64_t{0}, d, 7 * d, 0x7fffffff / d * d, 0x7fffffff / d / 2 * d}) {
      for (int64_t n = multiple - 2; n <= multiple + 2; ++n) {
        if (!right(n, static_cast<int>(d))) return answered(Status::internal("a division is wrong"));
      }
    }
    if (!right(0x7fffffff, static_cast<int>(d))) return answered(Status::internal("a division is wrong"));
  }
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && arguments[1][0] == 'q';
  bool ok = divisions();
  for (const auto element : {cuda::Element::float32, cuda::Element::bfloat16, cuda::Element::float16}) {
    if (quick && element == cuda::Element::float16) continue;
    ok = run(1, 40, 17, 12, 20, element, true) && ok;   // tensor cores, splits
    ok = run(1, 16, 15, 16, 24, element, false) && ok;  // halves in eights, by asynchronous copies
    if (quick) continue;
    ok = run(1, 9, 9, 12, 20, element, false) && ok;
    ok = run(1, 7, 9, 40, 72, element, true) && ok;
    ok = run(2, 5, 7, 7, 66, element, true) && ok;
    ok = run(1, 1, 1, 1, 1, element, false) && ok;
  }
  return ok ? 0 : 1;
}
