// The CUDA covariance penalty on buffers of exactly the right size, for the sanitizers.
#include "spinecore/cuda/covariance_decorrelation.h"

#include "buffers.h"

namespace {

using namespace spinecore;

bool run(int rows, int columns, cuda::Element element, bool masked) {
  const Elements z(int64_t{rows} * columns, element), dz(int64_t{rows} * columns, element);
  const auto plan = cuda::covariance_plan(rows, columns, element);
  const int64_t side = plan.gram ? rows : columns;
  const Floats off(1), hinge(1), kept(side * side), moments(3ll * columns), forward(plan.forward_workspace),
      backward(plan.backward_workspace), mask(rows), d_off(1, true), d_hinge(1, true);
  for (int i = 0; i < rows; ++i) mask.data[i] = i % 3 == 1 ? 0.0f : 1.0f;
  const float* weights = masked ? mask.data : nullptr;
  bool ok = answered(cuda::covariance_forward(
      plan, 1.0f, 1e-4f, {z.data, weights, off.data, hinge.data, kept.data, moments.data, forward.data}, nullptr));
  ok =
      ok && answered(cuda::covariance_backward(
                plan, 1.0f, 1e-4f,
                {z.data, weights, d_off.data, d_hinge.data, kept.data, moments.data, dz.data, backward.data}, nullptr));
  if (ok && !(off.finite() && hinge.finite() && kept.finite() && moments.finite())) {
    return answered(Status::internal("a result is not finite"));
  }
  return ok;
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && arguments[1][0] == 'q';
  bool ok = true;
  for (const auto element : {cuda::Element::float32, cuda::Element::bfloat16, cuda::Element::float16}) {
    if (quick && element != cuda::Element::float32) continue;
    ok = run(300, 68, element, false) && ok;  // splits and chunks
    ok = run(40, 132, element, true) && ok;   // Gram
    if (quick) continue;
    ok = run(77, 33, element, true) && ok;
    ok = run(3, 7, element, false) && ok;
    ok = run(1, 1, element, false) && ok;
  }
  return ok ? 0 : 1;
}
