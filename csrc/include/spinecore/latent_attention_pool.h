// Latent attention pooling (Perceiver; Set Transformer's pooling by multihead attention) on the CPU.
//
//   P = softmax((latents wq)(x wk)^T / sqrt(D / heads) + bias)   over unmasked tokens, one softmax a head
//   y = concat_heads(P (x wv)) wo
//
// Absorbed, for few latents: the scores are x q'^T with q' = (latents wq) wk^T of every head, and P (x wv) is (P x) wv;
// neither keys nor values exist. Projected, for many: keys and values of one block of tokens at a time.
//
// Widths are given padded: the columns of a head and the width D to multiples of 16, with zeros, so that vectors of
// every instruction set fit. Only x and dx have their own width.
#pragma once

#include <cstdint>

#include "spinecore/latent_pool.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

LatentPoolGeometry latent_attention_geometry(int64_t batch, int64_t tokens, int64_t width, int64_t rows, int64_t heads,
                                             int64_t head, bool absorbed);

// Where the parts of the workspace begin, in floats, and how large it is. A member that the algorithm does not need is
// empty. "Each" is for one sample of a group and one split (forward), or for one slot (backward).
struct LatentAttentionForwardSpace {
  int64_t queries, queries_t, keys_t, packed, packed_values;  // shared
  int64_t top, total, sums, means;                            // each, but means: of one group
  int64_t scratch, scratch_each;                              // tokens, scores, projections: each, not kept
  int64_t size;
};
struct LatentAttentionBackwardSpace {
  int64_t queries, queries_t, keys_t, packed, packed_values, both_t;  // shared
  int64_t dy_t, d_pooled_t, d_pooled, delta, tops, inverses, d_queries, d_queries_t, d_latents_t;
  int64_t values_t;                       // absorbed values of every head, sample and row
  int64_t d_pooled_row, d_pooled_sample;  // strides of d_pooled_t and values_t
  int64_t sums, sums_each;                // each
  int64_t scratch, scratch_each;          // each, not kept
  int64_t size;
};
LatentAttentionForwardSpace latent_attention_forward_space(const LatentPoolGeometry& geometry);
LatentAttentionBackwardSpace latent_attention_backward_space(const LatentPoolGeometry& geometry);

struct LatentAttentionParameters {
  const float *latents, *wq, *wk, *wv, *wo;
  float scale;        // 1 / sqrt of the true width of a head
  const float* mask;  // (batch, tokens), 0 is dropped; or none
};

struct LatentAttentionForward {
  LatentPoolGeometry geometry;
  LatentAttentionForwardSpace space;
  DType dtype;
  LatentAttentionParameters parameters;
  const void* x;
  const float* bias;    // (rows, tokens) of a sample, or none
  int64_t bias_sample;  // from one sample to the next; 0: shared
  float *y, *norms, *pooled;
  float *scores, *means;  // kept for the backward, or none
  float* workspace;
  bool pairs;  // x is bfloat16, the algorithm absorbed, and the processor multiplies pairs of bfloat16
};

struct LatentAttentionBackward {
  LatentPoolGeometry geometry;
  LatentAttentionBackwardSpace space;
  DType dtype;
  LatentAttentionParameters parameters;
  const void* x;
  const float* bias;
  int64_t bias_sample;
  const float *dy, *norms, *pooled, *scores, *means;
  void* dx;
  float *d_latents, *dwq, *dwk, *dwv, *dwo;
  float* d_bias;  // (batch, rows, tokens), or none
  float* workspace;
};

// False when the owner of the threads failed.
struct LatentAttentionKernels {
  bool (*forward)(const LatentAttentionForward&);
  bool (*backward)(const LatentAttentionBackward&);
};

// The kernels of the selected instruction set.
const LatentAttentionKernels& latent_attention_pool_kernels();

// Checked entries: every view is validated before it is read. `mask`, `bias`, `scores`, `means` and `d_bias` without
// elements are absent; scores and means are given together, and then the algorithm is the absorbed one.
//
// x, dx (B, N, D) float32 or bfloat16; the rest is float32, with d and D padded to multiples of 16: latents,
// d_latents (R, D); wq, wk, wv and their gradients (D, heads * d); wo, dwo (heads * d, D); mask (B, N); bias (1 or B,
// R, N), d_bias (B, R, N); y, dy (B, R, D); norms (2, B, heads, R), largest scores and sums of exponentials below;
// pooled (B, R, heads * d); scores (B, N, heads * R); means (heads, B, R, D). Where tokens are masked, scores, dx and
// d_bias are zero.
struct LatentAttentionForwardViews {
  TensorView x, latents, wq, wk, wv, wo, mask, bias, y, norms, pooled, scores, means;
};
struct LatentAttentionBackwardViews {
  TensorView x, dy, latents, wq, wk, wv, wo, mask, bias, norms, pooled, scores, means;
  TensorView dx, d_latents, dwq, dwk, dwv, dwo, d_bias;
};
Status latent_attention_pool_forward(const LatentAttentionForwardViews& views, int64_t heads, double scale,
                                     bool absorbed);
Status latent_attention_pool_backward(const LatentAttentionBackwardViews& views, int64_t heads, double scale);

}  // namespace spinecore
