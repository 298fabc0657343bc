// The fused CUDA recurrence on buffers of exactly the right size, for the sanitizers.
#include "spinecore/cuda/recurrent_residual_conv.h"

#include "buffers.h"

namespace {

using namespace spinecore;

bool run(int n, int height, int width, int channels, int steps, cuda::Element element, bool shared) {
  const auto plan = cuda::recurrence_plan(n, height, width, channels, steps, element, true);
  const int64_t values = int64_t{n} * height * width * channels, weights = int64_t{9} * plan.padded * plan.padded;
  const Elements x(values, element), w_in(weights, element), w_rec(weights, element);
  const Elements y(values, element);
  const Floats scale(shared ? channels : (steps + 1) * channels, true), shift(scale.size, true);
  const int stride = shared ? 0 : channels;
  const bool ok = answered(cuda::recurrence_forward(
      plan, {x.data, w_in.data, w_rec.data, scale.data, shift.data, stride, stride, y.data}, nullptr));
  return ok && (y.finite(values, element) || answered(Status::internal("a result is not finite")));
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && arguments[1][0] == 'q';
  bool ok = true;
  for (const auto element : {cuda::Element::float32, cuda::Element::bfloat16, cuda::Element::float16}) {
    if (quick && element == cuda::Element::float16) continue;
    ok = run(1, 13, 5, 16, 2, element, true) && ok;  // by asynchronous copies, two tiles
    ok = run(1, 4, 13, 7, 1, element, false) && ok;  // element by element
    if (quick) continue;
    ok = run(2, 3, 3, 32, 2, element, false) && ok;
    ok = run(1, 1, 1, 1, 0, element, true) && ok;
    if (element != cuda::Element::float32) ok = run(1, 9, 14, 63, 2, element, true) && ok;
  }
  return ok ? 0 : 1;
}
