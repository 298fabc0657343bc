// Checks the arguments of the latent poolings on a GPU and hands them to the launches of latent_pool.cu.
#include "feature_checks.h"
#include "spinecore/cuda/latent_pool.h"

namespace spinecore::cuda {
namespace {

Status read_plan(const char* op, const TensorView& x, const TensorView& queries, int64_t rows, bool tf32,
                 LatentPoolPlan* plan) {
  if (x.dims != 3 || queries.dims != 2) {
    return Status::wrong_value(std::string(op) + ": expected x (B, N, D) and queries (Q, D)");
  }
  const int64_t batch = x.shape[0], tokens = x.shape[1], width = x.shape[2], count = queries.shape[0];
  Status status =
      first_complaint({check_tokens(op, x, {batch, tokens, width}), check_as(op, queries, x, {count, width})});
  if (!status.ok()) return status;
  const int64_t most = int64_t{1} << 31;
  if (batch < 1 || tokens < 1 || batch * tokens >= most / product_tile || width < 1 || width >= int64_t{1} << 16 ||
      count < 1 || count >= int64_t{1} << 16 || rows < 1 || count % rows != 0) {
    return Status::wrong_value(std::string(op) + ": B, N, D = " + std::to_string(batch) + ", " +
                               std::to_string(tokens) + ", " + std::to_string(width) + " with " +
                               std::to_string(count) + " queries of " + std::to_string(rows) +
                               " latents: no kernel takes these sizes");
  }
  *plan = latent_pool_plan(static_cast<int>(batch), static_cast<int>(tokens), static_cast<int>(width),
                           static_cast<int>(count), static_cast<int>(rows), element_of(x), tf32);
  return {};
}

Status check_mask(const char* op, const TensorView& mask, const LatentPoolPlan& p) {
  return mask.numel() == 0 ? Status{} : check_device_floats(op, mask, {p.batch, p.tokens});
}

}  // namespace

Status latent_pool_forward(const LatentPoolForwardViews& v, int64_t rows, bool tf32, void* stream) {
  const char* op = "latent_pool_forward";
  LatentPoolPlan p;
  Status status = read_plan(op, v.x, v.queries, rows, tf32, &p);
  if (!status.ok()) return status;
  const int64_t biases = v.bias.numel() > 0 && v.bias.shape[0] == 1 ? 1 : p.batch;
  status = first_complaint({
      check_mask(op, v.mask, p),
      v.bias.numel() == 0 ? Status{} : check_device_floats(op, v.bias, {biases, p.rows, p.tokens}),
      check_device_floats(op, v.scores, {p.batch, p.tokens, p.queries}),
      check_device_floats(op, v.norms, {2, p.batch, p.queries}),
      check_device_floats(op, v.means, {p.batch, p.queries, p.width}),
      check_fours(op, v.scores),
      check_fours(op, v.norms),
      check_fours(op, v.means),
      check_device_workspace(op, v.workspace, p.forward_workspace),
      check_apart_all(op, {&v.scores, &v.norms, &v.means, &v.workspace}, {&v.x, &v.queries, &v.mask, &v.bias}),
  });
  if (!status.ok()) return status;
  p.bias_sample = biases == 1 ? 0 : int64_t{p.rows} * p.tokens;
  return latent_pool_forward(p,
                             {v.x.data, v.queries.data, bias_pointer(v.mask), bias_pointer(v.bias), v.scores.floats(),
                              v.norms.floats(), v.means.floats(), v.workspace.floats()},
                             stream);
}

Status latent_pool_backward(const LatentPoolBackwardViews& v, int64_t rows, bool tf32, void* stream) {
  const char* op = "latent_pool_backward";
  LatentPoolPlan p;
  Status status = read_plan(op, v.x, v.queries, rows, tf32, &p);
  if (!status.ok()) return status;
  status = first_complaint({
      check_mask(op, v.mask, p),
      check_device_floats(op, v.scores, {p.batch, p.tokens, p.queries}),
      check_device_floats(op, v.norms, {2, p.batch, p.queries}),
      check_as(op, v.d_means, v.x, {p.batch, p.queries, p.width}),
      check_device_floats(op, v.delta, {p.batch, p.queries}),
      check_as(op, v.dx, v.x, {p.batch, p.tokens, p.width}),
      check_as(op, v.d_scores, v.x, {p.batch, p.tokens, p.d_scores_columns}),
      check_device_floats(op, v.d_queries, {p.queries, p.width}),
      check_fours(op, v.scores),
      check_fours(op, v.norms),
      check_fours(op, v.d_scores),
      check_device_workspace(op, v.workspace, p.backward_workspace),
      check_apart_all(op, {&v.dx, &v.d_scores, &v.d_queries, &v.workspace},
                      {&v.x, &v.queries, &v.mask, &v.scores, &v.norms, &v.d_means, &v.delta}),
  });
  if (!status.ok()) return status;
  return latent_pool_backward(
      p,
      {v.x.data, v.queries.data, v.d_means.data, bias_pointer(v.mask), v.scores.floats(), v.norms.floats(),
       v.delta.floats(), v.dx.data, v.d_scores.data, v.d_queries.floats(), v.workspace.floats()},
      stream);
}

}  // namespace spinecore::cuda
