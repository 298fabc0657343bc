// The CUDA penalties between two batches on buffers of exactly the right size, for the sanitizers.
#include "spinecore/cuda/cross_decorrelation.h"

#include "buffers.h"

namespace {

using namespace spinecore;

bool run(int rows, int width_a, int width_b, cuda::Element element, bool normalise) {
  const int64_t size_a = int64_t{rows} * width_a, size_b = int64_t{rows} * width_b;
  const Elements a(size_a, element), b(size_b, element), da(size_a, element), db(size_b, element);
  const auto plan = cuda::cross_plan(rows, width_a, width_b, element, normalise);
  const Floats penalty(1), kept(plan.gram ? 2ll * rows * rows : int64_t{width_a} * width_b),
      statistics(2ll * (width_a + width_b) + (normalise ? 2 * rows : 0)), grad(1, true),
      forward(plan.forward_workspace), backward(plan.backward_workspace);
  bool ok = answered(
      cuda::cross_forward(plan, {a.data, b.data, penalty.data, kept.data, statistics.data, forward.data}, nullptr));
  ok = ok &&
       answered(cuda::cross_backward(
           plan, {a.data, b.data, grad.data, kept.data, statistics.data, da.data, db.data, backward.data}, nullptr));
  if (ok && !(penalty.finite() && kept.finite() && statistics.finite())) {
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
    for (const bool normalise : {true, false}) {
      if (quick && !normalise) continue;
      ok = run(300, 68, 24, element, normalise) && ok;   // splits and chunks
      ok = run(40, 132, 160, element, normalise) && ok;  // Gram
      if (quick) continue;
      ok = run(77, 33, 7, element, normalise) && ok;
      ok = run(1, 3, 1, element, normalise) && ok;
    }
  }
  return ok ? 0 : 1;
}
