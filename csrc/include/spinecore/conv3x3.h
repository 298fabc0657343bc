// 3x3 convolution with bias, residual and activation, forward and backward on the CPU.
//
//   y = activation(conv(x, w) + bias + residual),  padding 1, stride 1
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"
#include "spinecore/winograd.h"

namespace spinecore {

struct Conv3x3Forward {
  int64_t n, height, width;
  WinogradWeights weights;
  DType dtype;  // of x, residual and y
  bool relu;
  const float* bias;     // or nullptr
  const void* residual;  // or nullptr
  const void* x;
  int64_t x_step;  // elements from one pixel of x to the next
  void* y;
  int* not_finite;  // set to 1 where y holds a NaN or an infinity
};

struct Conv3x3Kernels {
  bool (*forward)(const Conv3x3Forward&);
};
const Conv3x3Kernels& conv3x3_kernels();

// x (N,I,H,W), y and residual (N,O,H,W), all channels-last, x also a slice of the channels of such an image;
// transformed weights; bias (O,) float32. Bias and residual may be views without elements: there is none. `finite`
// becomes false where y holds a NaN or an infinity: the transform spreads them over their tile, so that the caller has
// to compute y by other means.
struct Conv3x3Views {
  TensorView x, weights, bias, residual, y;
};
Status conv3x3_forward(const Conv3x3Views& views, bool relu, bool* finite);

struct Conv3x3Backward {
  int64_t n, height, width, in, out;
  WinogradWeights weights;  // of the data gradient; no data where dx is not wanted
  DType dtype;              // of every image
  const void *x, *dy;
  const void* y;          // of the activation, or nullptr
  void *dx, *d_residual;  // or nullptr
  float *dw, *d_bias;
  float* workspace;
  int* not_finite;
};

struct Conv3x3BackwardKernels {
  bool (*backward)(const Conv3x3Backward&);
  int64_t (*workspace)(int64_t n, int64_t height, int64_t width, int64_t in, int64_t out);  // float32 elements
};
const Conv3x3BackwardKernels& conv3x3_backward_kernels();

// Images channels-last; y without elements: no activation; dx and the weights, or d_residual, without elements: not
// wanted. `finite` becomes false where the caller has to compute everything by other means.
struct Conv3x3BackwardViews {
  TensorView x, dy, y, weights, dx, d_residual, dw, d_bias, workspace;
};
int64_t conv3x3_backward_workspace(int64_t n, int64_t height, int64_t width, int64_t in, int64_t out);
Status conv3x3_backward(const Conv3x3BackwardViews& views, bool* finite);

}  // namespace spinecore
