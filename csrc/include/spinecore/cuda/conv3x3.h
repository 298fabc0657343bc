// 3x3 convolution of channels-last images on a GPU as an implicit product, with what follows it in the same kernel:
// what csrc/cuda/conv3x3.cu launches and its entry checks. Knows no CUDA header; `stream` is a cudaStream_t.
//
//   raw = conv(x, w) + addend        y = activation(scale * raw + shift + before) + after
//
// The recurrent residual convolution is one launch a step; the data gradient is the same convolution with turned
// weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spinecore/cuda/element.h"
#include "spinecore/cuda/feature_plan.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore::cuda {

// A block of the weight gradient: channels after and before the convolution, tiles of pixels of a row.
inline constexpr int gradient_out = 64, gradient_in = 32, gradient_across = 16;
// Rows of a tile, as many as two buffers of shared memory hold.
constexpr int gradient_rows(size_t element_size) { return element_size == 4 ? 2 : 4; }

struct WeightGradientPlan {
  int across = 0, down = 0, tiles = 0;  // of pixels: of an image, and of all samples
  int blocks_in = 0, blocks = 0;        // of channels
  int splits = 1, split_tiles = 0;      // blocks that share the tiles
};

struct Conv3x3Plan {
  int batch = 0, height = 0, width = 0, in = 0, out = 0;
  Element element = Element::float32;
  bool tf32 = false;  // float32 may be multiplied in tf32; halves are as they are
  ProductPlan forward;
  WeightGradientPlan weights;
  int64_t workspace = 0;  // floats, of the weight gradient, enough for every element type
};

Conv3x3Plan conv3x3_plan(int batch, int height, int width, int in, int out, Element element, bool tf32);

// Images (N, H, W, channels); w (out, 9, in) in the images' type; scale and shift (out,) float32. All but x, w and y
// may be null; so may y where raw is wanted alone.
struct Conv3x3Pointers {
  const void *x, *w;
  const float *scale, *shift;
  const void *addend, *before, *after;
  void *raw, *y;
  bool relu;
};

Status conv3x3_forward(const Conv3x3Plan& plan, const Conv3x3Pointers& p, void* stream);
// dw (out, 9, in), float32.
Status conv3x3_weights(const Conv3x3Plan& plan, const void* x, const void* dy, float* dw, float* workspace,
                       void* stream);

// Checked entries. Views without elements are absent.
struct Conv3x3Views {
  TensorView x, w, scale, shift, addend, before, after, raw, y;
};
struct Conv3x3WeightsViews {
  TensorView x, dy, dw, workspace;
};
Status conv3x3_forward(const Conv3x3Views& views, bool relu, bool tf32, void* stream);
Status conv3x3_weights(const Conv3x3WeightsViews& views, bool tf32, void* stream);

}  // namespace spinecore::cuda
