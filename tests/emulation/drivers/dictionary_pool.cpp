// The CUDA dictionary pooling on buffers of exactly the right size, for the sanitizers.
#include "spinecore/cuda/dictionary_pool.h"

#include "buffers.h"

namespace {

using namespace spinecore;

bool run(int batch, int tokens, int width, int heads, int rows, cuda::Element element, bool tf32 = false) {
  const int64_t size = int64_t{batch} * tokens, all = size * width;
  const Elements x(all, element), dx(all, element);
  const auto plan = cuda::dictionary_pool_plan(batch, tokens, width, heads, rows, element, tf32);
  const int64_t count = plan.entries();
  const Elements entries(count * width, element), d_scores(size * count, element);
  const Floats share(size), weights(size * count), forward(plan.forward_workspace), d_mean(batch * count, true),
      d_entries(count * width), backward(plan.backward_workspace);
  for (int64_t i = 0; i < size; ++i) share.data[i] = i % 3 == 1 ? 0.0f : 0.1f;
  bool ok = answered(
      cuda::dictionary_pool_forward(plan, {x.data, entries.data, share.data, weights.data, forward.data}, nullptr));
  ok = ok && answered(cuda::dictionary_pool_backward(plan,
                                                     {x.data, entries.data, share.data, weights.data, d_mean.data,
                                                      dx.data, d_scores.data, d_entries.data, backward.data},
                                                     nullptr));
  if (ok &&
      !(weights.finite() && d_scores.finite(size * count, element) && dx.finite(all, element) && d_entries.finite())) {
    return answered(Status::internal("a result is not finite"));
  }
  return ok;
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && arguments[1][0] == 'q';
  bool ok = run(1, 200, 40, 2, 35, cuda::Element::float32, true);
  for (const auto element : {cuda::Element::float32, cuda::Element::bfloat16, cuda::Element::float16}) {
    if (quick && element == cuda::Element::float16) continue;
    ok = run(1, 200, 40, 2, 35, element) && ok;  // splits backward
    if (quick) continue;
    ok = run(2, 75, 21, 3, 7, element) && ok;
    ok = run(1, 30, 150, 2, 8, element) && ok;   // splits of the scores
    ok = run(1, 30, 150, 1, 70, element) && ok;  // a head wider than a tile
    ok = run(2, 1, 1, 1, 1, element) && ok;
  }
  return ok ? 0 : 1;
}
