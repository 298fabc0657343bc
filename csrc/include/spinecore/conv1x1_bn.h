// 1x1 convolution, batch normalisation with the batch's own statistics and an optional ReLU, forward and backward on
// the CPU.
//
//   z = w x;   y = activation(gamma (z - mean) / sqrt(var + eps) + beta)
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

struct Conv1x1Bn {
  int64_t pixels, in, out;
  DType dtype;  // of every image
  bool relu;
  const void* x;
  const float *w, *gamma, *beta;
  float* workspace;
  int* no_memory;  // set to 1 where a thread had no memory to work in
};

struct Conv1x1BnForward {
  Conv1x1Bn unit;
  double eps;
  void *z, *y;
  float *mean, *variance, *inverse;
};

struct Conv1x1BnBackward {
  Conv1x1Bn unit;
  const void *z, *dy;
  const float *mean, *inverse;
  void* dx;  // or nullptr
  float *dw, *d_gamma, *d_beta;
};

struct Conv1x1BnKernels {
  bool (*forward)(const Conv1x1BnForward&);
  bool (*backward)(const Conv1x1BnBackward&);
  int64_t (*workspace)(int64_t pixels, int64_t in, int64_t out);  // float32 elements, for either
};
const Conv1x1BnKernels& conv1x1_bn_kernels();

int64_t conv1x1_bn_workspace(int64_t pixels, int64_t in, int64_t out);

// Images channels-last, x (N,I,H,W), z and y (N,O,H,W); everything else float32: w (O,I), the others (O,).
struct Conv1x1BnViews {
  TensorView x, w, gamma, beta, z, y, mean, variance, inverse, workspace;
};
Status conv1x1_bn_forward(const Conv1x1BnViews& views, double eps, bool relu);

// dx without elements: not wanted.
struct Conv1x1BnBackwardViews {
  TensorView x, dy, w, gamma, beta, z, mean, inverse, dx, dw, d_gamma, d_beta, workspace;
};
Status conv1x1_bn_backward(const Conv1x1BnBackwardViews& views, bool relu);

}  // namespace spinecore
