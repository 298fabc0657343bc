// Latent dictionary pooling (NV-Embed) on the CPU: every token queries a learned dictionary.
//
//   P = softmax((x wq)(dictionary wk)^T / sqrt(D / heads))   over the dictionary, one softmax a token and head
//   y = mean over unmasked tokens of concat_heads(P (dictionary wv)) wo
//
// The mean goes first: only the mean weight of every dictionary row is needed, and one product with its values.
// Absorbed, for a small dictionary: the scores are x q'^T with q' = (dictionary wk) wq^T of every head. Projected, for
// a large one: queries of one block of tokens at a time. Widths are padded as in spinecore/latent_attention_pool.h.
#pragma once

#include <cstdint>

#include "spinecore/latent_pool.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

LatentPoolGeometry latent_dictionary_geometry(int64_t batch, int64_t tokens, int64_t width, int64_t rows, int64_t heads,
                                              int64_t head);

// Where the parts of the workspace begin, in floats, and how large it is; what is not needed is empty.
struct LatentDictionarySpace {
  int64_t keys, keys_t, values, values_t;         // of the dictionary, (R, heads * d) and transposed; keys are scaled
  int64_t absorbed, packed;                       // q' (D, scores), and the right factor that gives scores or queries
  int64_t means;                                  // mean weights of a sample (B, scores)
  int64_t pooled;                                 // (B, heads * d)
  int64_t packed_t;                               // backward: the right factor that gives dx
  int64_t dy_t, d_pooled_t, d_pooled, d_weights;  // backward; d_weights: gradient of a sample's weights (B, scores)
  int64_t d_keys, d_values, d_keys_t, d_values_t, d_table_t;
  int64_t weights;                // of every sample and split: sums of weights (scores)
  int64_t counts;                 // tokens of every sample
  int64_t sums, sums_each;        // backward, of every slot
  int64_t scratch, scratch_each;  // of every slot, not kept
  int64_t size;
};
LatentDictionarySpace latent_dictionary_space(const LatentPoolGeometry& geometry, bool backward);

struct LatentDictionaryForward {
  LatentPoolGeometry geometry;
  LatentDictionarySpace space;
  DType dtype;
  const float *table, *wq, *wk, *wv, *wo;
  float scale;        // 1 / sqrt of the true width of a head
  const float* mask;  // (batch, tokens), 0 is dropped; or none
  const void* x;
  float* y;
  float* workspace;
};

struct LatentDictionaryBackward {
  LatentDictionaryForward forward;  // y is not written
  const float* dy;
  void* dx;
  float *d_table, *dwq, *dwk, *dwv, *dwo;
};

// False when the owner of the threads failed.
struct LatentDictionaryKernels {
  bool (*forward)(const LatentDictionaryForward&);
  bool (*backward)(const LatentDictionaryBackward&);
};

// The kernels of the selected instruction set.
const LatentDictionaryKernels& latent_dictionary_pool_kernels();

// Checked entries: every view is validated before it is read; a mask without elements is absent.
//
// x, dx (B, N, D) float32 or bfloat16; the rest is float32, padded: dictionary, d_dictionary (R, D); wq, wk, wv and
// their gradients (D, heads * d); wo, dwo (heads * d, D); mask (B, N); y, dy (B, D). Where tokens are masked, dx is
// zero.
struct LatentDictionaryForwardViews {
  TensorView x, table, wq, wk, wv, wo, mask, y;
};
struct LatentDictionaryBackwardViews {
  TensorView x, dy, table, wq, wk, wv, wo, mask, dx, d_table, dwq, dwk, dwv, dwo;
};
Status latent_dictionary_pool_forward(const LatentDictionaryForwardViews& views, int64_t heads, double scale);
Status latent_dictionary_pool_backward(const LatentDictionaryBackwardViews& views, int64_t heads, double scale);

}  // namespace spinecore
