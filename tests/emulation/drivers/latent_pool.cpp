// The CUDA latent pooling on buffers of exactly the right size, for the sanitizers.
#include "spinecore/cuda/latent_pool.h"

#include "buffers.h"

namespace {

using namespace spinecore;

bool run(int batch, int tokens, int width, int queries, int rows, cuda::Element element, bool masked,
         bool tf32 = false) {
  const int64_t size = int64_t{batch} * tokens, all = size * width;
  const Elements x(all, element), dx(all, element);
  auto plan = cuda::latent_pool_plan(batch, tokens, width, queries, rows, element, tf32);
  plan.bias_sample = int64_t{rows} * tokens;
  const int64_t pooled = int64_t{batch} * queries * width, gradients = size * plan.d_scores_columns;
  const Elements q(int64_t{queries} * width, element), d_means(pooled, element), d_scores(gradients, element);
  const Floats mask(size), bias(int64_t{batch} * rows * tokens, true), scores(size * queries),
      norms(2ll * batch * queries), means(pooled), forward(plan.forward_workspace),
      delta(int64_t{batch} * queries, true), d_queries(int64_t{queries} * width), backward(plan.backward_workspace);
  for (int64_t i = 0; i < size; ++i) mask.data[i] = i % 3 == 1 ? 0.0f : 1.0f;
  const float *keep = masked ? mask.data : nullptr, *added = masked ? bias.data : nullptr;
  bool ok = answered(cuda::latent_pool_forward(
      plan, {x.data, q.data, keep, added, scores.data, norms.data, means.data, forward.data}, nullptr));
  ok = ok && answered(cuda::latent_pool_backward(plan,
                                                 {x.data, q.data, d_means.data, keep, scores.data, norms.data,
                                                  delta.data, dx.data, d_scores.data, d_queries.data, backward.data},
                                                 nullptr));
  if (ok && !(norms.finite() && means.finite() && d_scores.finite(gradients, element) && dx.finite(all, element) &&
              d_queries.finite())) {
    return answered(Status::internal("a result is not finite"));
  }
  return ok;
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && arguments[1][0] == 'q';
  bool ok = run(1, 200, 40, 12, 6, cuda::Element::float32, true, true);
  for (const auto element : {cuda::Element::float32, cuda::Element::bfloat16, cuda::Element::float16}) {
    if (quick && element == cuda::Element::float16) continue;
    ok = run(1, 200, 40, 12, 6, element, false) && ok;  // splits
    if (quick) continue;
    ok = run(2, 75, 21, 70, 7, element, true) && ok;
    ok = run(2, 1, 1, 1, 1, element, false) && ok;
  }
  return ok ? 0 : 1;
}
