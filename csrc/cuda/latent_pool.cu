// Launches of the attention between absorbed queries and tokens; latent_pool.cuh has the kernels.
#include "latent_pool.cuh"

#include <string>

#include "launches.h"
#include "matrices.h"

namespace spinecore::cuda {
namespace {

std::string problem(const char* op, const LatentPoolPlan& p) {
  return std::string(op) + " for x with B, N, D = " + std::to_string(p.batch) + ", " + std::to_string(p.tokens) + ", " +
         std::to_string(p.width) + " (" + element_name(p.element) + ", " + std::to_string(p.queries) + " queries)";
}

// Matrices as x; where there are several, that of the first sample.
Factor factor_of(const LatentPoolPlan& p, const void* data, int rows, int columns, const float* mask = nullptr) {
  return centred_factor(data, rows, columns, p.element, nullptr, nullptr, mask);
}

}  // namespace

LatentPoolPlan latent_pool_plan(int batch, int tokens, int width, int queries, int rows, Element element, bool tf32) {
  LatentPoolPlan p;
  p.batch = batch;
  p.tokens = tokens;
  p.width = width;
  p.queries = queries;
  p.rows = rows;
  p.element = element;
  p.tf32 = tf32;
  p.d_scores_columns = element == Element::float32 ? queries : 2 * queries;
  // Many samples fill a GPU without splits.
  p.scores = product_plan(tokens, queries, width, false, 1);
  p.means = product_plan(queries, width, tokens, false, std::max(1, product_blocks / batch));
  p.to_tokens = product_plan(tokens, width, queries, false, 1);
  p.to_queries = product_plan(queries, width, batch * tokens, false, product_blocks);
  p.sums_at = round_up(2ll * batch * divide_up(tokens, product_tile) * queries, 4);
  p.forward_workspace = p.sums_at + batch * p.means.workspace;
  p.backward_workspace = p.to_queries.workspace;
  return p;
}

Status latent_pool_forward(const LatentPoolPlan& plan, const LatentPoolForwardPointers& p, void* stream) {
  const Factor tokens = factor_of(plan, p.x, plan.tokens, plan.width, p.mask);
  const Factor queries = factor_of(plan, p.queries, plan.queries, plan.width);
  const bool in_x = in_eights(p.x, plan.width), eights = in_x && in_eights(p.queries, plan.width);
  const char* what = "the scores";
  auto config = launch_configuration(int64_t{plan.batch} * plan.scores.tiles, product_threads, stream);
  cudaError_t error = for_factors(plan.element, plan.tf32, [&](auto element, auto tensor) {
    return cudaLaunchKernelEx(&config, &score_tokens<decltype(element), decltype(tensor)::value>, tokens, queries, plan,
                              p, eights);
  });
  if (error == cudaSuccess) {
    what = "the norms";
    config = launch_configuration(divide_up(int64_t{plan.batch} * plan.queries, norm_merge_threads), norm_merge_threads,
                                  stream);
    error = cudaLaunchKernelEx(&config, &merge_norms, plan, p.workspace, p.norms);
  }
  if (error == cudaSuccess && plan.means.splits > 1) {
    what = "the reset of its tickets";
    const auto tickets = sizeof(unsigned) * static_cast<size_t>(plan.batch * plan.means.tickets);
    error = cudaMemsetAsync(p.workspace + plan.sums_at, 0, tickets, static_cast<cudaStream_t>(stream));
  }
  if (error == cudaSuccess) {
    what = "the means";
    config = launch_configuration(int64_t{plan.batch} * plan.means.tiles * plan.means.splits, product_threads, stream);
    error = for_factors(plan.element, plan.tf32, [&](auto element, auto tensor) {
      return cudaLaunchKernelEx(&config, &average_tokens<decltype(element), decltype(tensor)::value>, tokens, plan, p,
                                in_x);
    });
  }
  return launch_status(error, what, problem("latent_pool_forward", plan));
}

Status latent_pool_backward(const LatentPoolPlan& plan, const LatentPoolBackwardPointers& p, void* stream) {
  const int columns = plan.d_scores_columns;
  const Factor tokens = factor_of(plan, p.x, plan.tokens, plan.width, p.mask);
  const Factor queries = factor_of(plan, p.queries, plan.queries, plan.width);
  const Factor d_means = factor_of(plan, p.d_means, plan.queries, plan.width);
  const Factor d_scores = factor_of(plan, p.d_scores, plan.tokens, columns);
  const char* what = "the gradient of the scores";
  auto config = launch_configuration(int64_t{plan.batch} * plan.scores.tiles, product_threads, stream);
  cudaError_t error = for_factors(plan.element, plan.tf32, [&](auto element, auto tensor) {
    const bool eights = in_eights(p.x, plan.width) && in_eights(p.d_means, plan.width);
    return cudaLaunchKernelEx(&config, &differentiate_scores<decltype(element), decltype(tensor)::value>, tokens,
                              d_means, plan, p, eights);
  });
  if (error == cudaSuccess) {
    what = "the gradient of the tokens";
    const bool vectors = fours(p.dx, plan.width, plan.element);
    const bool eights =
        in_eights(p.d_scores, columns) && in_eights(p.queries, plan.width) && in_eights(p.d_means, plan.width);
    config = launch_configuration(int64_t{plan.batch} * plan.to_tokens.tiles, product_threads, stream);
    error = for_factors(plan.element, plan.tf32, [&](auto element, auto tensor) {
      return cudaLaunchKernelEx(&config, &differentiate_tokens<decltype(element), decltype(tensor)::value>, d_scores,
                                queries, d_means, plan, p, vectors, eights);
    });
  }
  if (error == cudaSuccess) {
    what = "the gradient of the queries";
    Side all_scores{d_scores, true}, all_tokens{tokens, true};
    all_scores.factor.rows = all_tokens.factor.rows = plan.batch * plan.tokens;
    if (plan.element == Element::float32 && !plan.tf32) {
      Outcome outcome{};
      outcome.result = p.d_queries;
      error = multiply(all_scores, all_tokens, plan.to_queries, outcome, false, p.workspace, stream);
    } else {
      error = multiply_matrices(all_scores, all_tokens, plan.to_queries, p.d_queries, p.workspace, stream);
    }
  }
  return launch_status(error, what, problem("latent_pool_backward", plan));
}

}  // namespace spinecore::cuda
