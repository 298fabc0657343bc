// Convolution for inference with everything around it in one pass, float32 on the CPU.
//
//   y = activation(conv(concat(inputs), w) + bias + sum_j bilinear(addends_j))
//
// k x k, any stride and dilation, padding dilation * (k / 2). The inputs are read where they lie, as if they had been
// concatenated along the channels; the addends are resized to y on the fly (align_corners=False). Activations: none,
// relu, and gate: sigmoid(...) * gate.
#pragma once

#include <cstdint>
#include <vector>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

enum class FusedActivation : int { none, relu, gate };

// A channels-last image, or some of the channels of one: `pixel` floats from one pixel to the next.
struct Pixels {
  const float* data;
  int64_t height, width, channels, pixel;
};

// Panels of results, each (k * k, in, panel), padded with zeros to whole vectors; for one instruction set.
struct FusedConv {
  const Pixels* inputs;
  int64_t input_count;
  const Pixels* addends;
  int64_t addend_count;
  int64_t n, kernel, stride, dilation;
  int64_t in, out, out_height, out_width;
  FusedActivation activation;
  const float* weights;
  const float* bias;  // or nullptr
  const float* gate;  // or nullptr, like y
  float* y;
  int* no_memory;  // set to 1 where a thread had no memory to work in
};

struct FusedConvPack {
  const float* w;  // (out, depth)
  int64_t depth, out;
  float* to;
};

struct FusedConvKernels {
  int lanes;
  void (*pack)(const FusedConvPack&);
  bool (*run)(const FusedConv&);
};
const FusedConvKernels& fused_conv_kernels();

// float32 elements of the packed weights of `depth` = k * k * in terms a result, under the selected instruction set.
int64_t fused_conv_weights_size(int64_t depth, int64_t out);
// w (out, depth), the terms in the order (k, k, in).
Status fused_conv_pack(const TensorView& w, const TensorView& to);

// inputs (N,C_i,H,W) and addends (N,O,h_j,w_j): channels-last images or slices of their channels; weights of
// `fused_conv_pack`; bias (O,), gate and y (N,O,H',W') channels-last. A bias or gate without elements is none.
struct FusedConvViews {
  std::vector<TensorView> inputs, addends;
  TensorView weights, bias, gate, y;
};
Status fused_conv_forward(const FusedConvViews& views, int64_t kernel, int64_t stride, int64_t dilation,
                          int64_t activation);

}  // namespace spinecore
