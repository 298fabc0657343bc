// Checks the arguments of the dictionary pooling on a GPU and hands them to the launches of dictionary_pool.cu.
#include "feature_checks.h"
#include "spinecore/cuda/dictionary_pool.h"

namespace spinecore::cuda {
namespace {

Status read_plan(const char* op, const TensorView& x, const TensorView& entries, int64_t heads, bool tf32,
                 DictionaryPoolPlan* plan) {
  if (x.dims != 3 || entries.dims != 2) {
    return Status::wrong_value(std::string(op) + ": expected x (B, N, D) and entries (E, D)");
  }
  const int64_t batch = x.shape[0], tokens = x.shape[1], width = x.shape[2], count = entries.shape[0];
  Status status =
      first_complaint({check_tokens(op, x, {batch, tokens, width}), check_as(op, entries, x, {count, width})});
  if (!status.ok()) return status;
  const int64_t most = int64_t{1} << 31, wide = int64_t{1} << 16;
  if (batch < 1 || tokens < 1 || batch * tokens >= most / product_tile || width < 1 || width >= wide || count < 1 ||
      count >= wide || heads < 1 || count % heads != 0) {
    return Status::wrong_value(std::string(op) + ": B, N, D = " + std::to_string(batch) + ", " +
                               std::to_string(tokens) + ", " + std::to_string(width) + " with " +
                               std::to_string(count) + " entries of " + std::to_string(heads) +
                               " heads: no kernel takes these sizes");
  }
  *plan = dictionary_pool_plan(static_cast<int>(batch), static_cast<int>(tokens), static_cast<int>(width),
                               static_cast<int>(heads), static_cast<int>(count / heads), element_of(x), tf32);
  return {};
}

}  // namespace

Status dictionary_pool_forward(const DictionaryPoolForwardViews& v, int64_t heads, bool tf32, void* stream) {
  const char* op = "dictionary_pool_forward";
  DictionaryPoolPlan p;
  Status status = read_plan(op, v.x, v.entries, heads, tf32, &p);
  if (!status.ok()) return status;
  status = first_complaint({
      check_device_floats(op, v.share, {p.batch, p.tokens}),
      check_device_floats(op, v.weights, {p.batch, p.tokens, p.entries()}),
      check_device_workspace(op, v.workspace, p.forward_workspace),
      check_apart_all(op, {&v.weights, &v.workspace}, {&v.x, &v.entries, &v.share}),
  });
  if (!status.ok()) return status;
  return dictionary_pool_forward(
      p, {v.x.data, v.entries.data, v.share.floats(), v.weights.floats(), v.workspace.floats()}, stream);
}

Status dictionary_pool_backward(const DictionaryPoolBackwardViews& v, int64_t heads, bool tf32, void* stream) {
  const char* op = "dictionary_pool_backward";
  DictionaryPoolPlan p;
  Status status = read_plan(op, v.x, v.entries, heads, tf32, &p);
  if (!status.ok()) return status;
  status = first_complaint({
      check_device_floats(op, v.share, {p.batch, p.tokens}),
      check_device_floats(op, v.weights, {p.batch, p.tokens, p.entries()}),
      check_device_floats(op, v.d_mean, {p.batch, p.entries()}),
      check_as(op, v.dx, v.x, {p.batch, p.tokens, p.width}),
      check_as(op, v.d_scores, v.x, {p.batch, p.tokens, p.entries()}),
      check_device_floats(op, v.d_entries, {p.entries(), p.width}),
      check_device_workspace(op, v.workspace, p.backward_workspace),
      check_apart_all(op, {&v.dx, &v.d_scores, &v.d_entries, &v.workspace},
                      {&v.x, &v.entries, &v.share, &v.weights, &v.d_mean}),
  });
  if (!status.ok()) return status;
  return dictionary_pool_backward(p,
                                  {v.x.data, v.entries.data, v.share.floats(), v.weights.floats(), v.d_mean.floats(),
                                   v.dx.data, v.d_scores.data, v.d_entries.floats(), v.workspace.floats()},
                                  stream);
}

}  // namespace spinecore::cuda
