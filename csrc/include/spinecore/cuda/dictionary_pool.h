// Attention of many tokens to a small dictionary on a GPU, with the projections absorbed: what
// csrc/cuda/dictionary_pool.cu launches and its entry checks. Knows no CUDA header; `stream` is a cudaStream_t.
//
//   scores = x entries^T         P = softmax over the rows of the dictionary, of every token and head
//
// An entry is one row of the dictionary for one head, projected to keys, then back through wq, and scaled. Only the
// mean of P over the tokens is wanted, which the caller takes: the values are averaged with it.
#pragma once

#include <cstdint>

#include "spinecore/cuda/element.h"
#include "spinecore/cuda/feature_plan.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore::cuda {

struct DictionaryPoolPlan {
  int batch = 0, tokens = 0, width = 0, heads = 0, rows = 0;
  Element element = Element::float32;
  bool tf32 = false;                          // float32 may be multiplied in tf32; halves are as they are
  ProductPlan scores, to_tokens, to_entries;  // the tokens of all samples are rows of one product
  int tile_heads = 0;                         // whole heads of a tile of scores; 0 where a head is wider than a tile
  int softmax_lanes = 1;                      // of each of them
  int64_t forward_workspace = 0, backward_workspace = 0;

  int entries() const { return heads * rows; }
};

DictionaryPoolPlan dictionary_pool_plan(int batch, int tokens, int width, int heads, int rows, Element element,
                                        bool tf32 = false);

// x (B, N, D), and as it entries (E, D), E = heads * rows; of float32 share (B, N), what a token counts in its sample's
// mean, 0 where it is masked; weights (B, N, E), P.
struct DictionaryPoolForwardPointers {
  const void *x, *entries;
  const float* share;
  float *weights, *workspace;
};
// As x: entries, dx and d_scores (B, N, E). Of float32 d_mean (B, E) and d_entries (E, D).
struct DictionaryPoolBackwardPointers {
  const void *x, *entries;
  const float *share, *weights, *d_mean;
  void *dx, *d_scores;
  float *d_entries, *workspace;
};

Status dictionary_pool_forward(const DictionaryPoolPlan& plan, const DictionaryPoolForwardPointers& p, void* stream);
Status dictionary_pool_backward(const DictionaryPoolPlan& plan, const DictionaryPoolBackwardPointers& p, void* stream);

struct DictionaryPoolForwardViews {
  TensorView x, entries, share, weights, workspace;
};
struct DictionaryPoolBackwardViews {
  TensorView x, entries, share, weights, d_mean, dx, d_scores, d_entries, workspace;
};
Status dictionary_pool_forward(const DictionaryPoolForwardViews& views, int64_t heads, bool tf32, void* stream);
Status dictionary_pool_backward(const DictionaryPoolBackwardViews& views, int64_t heads, bool tf32, void* stream);

}  // namespace spinecore::cuda
