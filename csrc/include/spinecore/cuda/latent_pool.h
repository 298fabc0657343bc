// Attention between few latents and many tokens on a GPU, with the projections absorbed: what csrc/cuda/latent_pool.cu
// launches and its entry checks. Knows no CUDA header; `stream` is a cudaStream_t. Nothing here allocates, synchronises
// or touches the default stream.
//
//   scores = x queries^T + bias          P = softmax over the tokens          means = P^T x
//
// A query is one latent of one head, projected and scaled: (latents wq) wk^T / sqrt(d). Neither keys nor values of the
// tokens exist.
#pragma once

#include <cstdint>

#include "spinecore/cuda/element.h"
#include "spinecore/cuda/feature_plan.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore::cuda {

struct LatentPoolPlan {
  int batch = 0, tokens = 0, width = 0, queries = 0, rows = 0;  // queries: heads * rows
  Element element = Element::float32;
  bool tf32 = false;         // float32 may be multiplied in tf32; halves are as they are
  int d_scores_columns = 0;  // queries; of halves twice them, for P lies beside the gradient
  int64_t bias_sample = 0;   // from one sample's bias to the next: 0 where they share it
  // Of one sample; the gradient of the queries sums over all of them.
  ProductPlan scores, means, to_tokens, to_queries;
  // Floats of the workspaces: the norms of every tile of tokens; then what the split sums need.
  int64_t sums_at = 0, forward_workspace = 0, backward_workspace = 0;
};

LatentPoolPlan latent_pool_plan(int batch, int tokens, int width, int queries, int rows, Element element,
                                bool tf32 = false);

// x (B, N, D), and as it queries (Q, D); of float32 mask (B, N) of 1 and 0 or null; bias (1 or B, R, N) or null; scores
// (B, N, Q), -inf where nothing may be attended to; norms (2, B, Q), the largest score and the sum of exponentials
// below it, zeros for a query without a token; means (B, Q, D).
struct LatentPoolForwardPointers {
  const void *x, *queries;
  const float *mask, *bias;
  float *scores, *norms, *means, *workspace;
};
// As x: queries, d_means (B, Q, D), dx and d_scores (B, N, Q), which with halves is (B, N, 2 Q) and holds P behind it.
// Of float32 delta (B, Q), the sum over the tokens of P dP, and d_queries (Q, D).
struct LatentPoolBackwardPointers {
  const void *x, *queries, *d_means;
  const float *mask, *scores, *norms, *delta;
  void *dx, *d_scores;
  float *d_queries, *workspace;
};

Status latent_pool_forward(const LatentPoolPlan& plan, const LatentPoolForwardPointers& p, void* stream);
Status latent_pool_backward(const LatentPoolPlan& plan, const LatentPoolBackwardPointers& p, void* stream);

// Checked entries. `mask` and `bias` without elements are absent.
struct LatentPoolForwardViews {
  TensorView x, queries, mask, bias, scores, norms, means, workspace;
};
struct LatentPoolBackwardViews {
  TensorView x, queries, mask, scores, norms, d_means, delta, dx, d_scores, d_queries, workspace;
};
Status latent_pool_forward(const LatentPoolForwardViews& views, int64_t rows, bool tf32, void* stream);
Status latent_pool_backward(const LatentPoolBackwardViews& views, int64_t rows, bool tf32, void* stream);

}  // namespace spinecore::cuda
