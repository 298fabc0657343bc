// 1x1 convolution (a linear map of the channels of every pixel), forward and backward on the CPU.
//
//   y = w x + bias;   dx = w^T dy,  dw = sum over pixels of dy x^T,  dbias = sum over pixels of dy
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

struct Conv1x1Forward {
  int64_t pixels, in, out;
  DType dtype;  // of x and y
  const void* x;
  const float* w;     // (out, in)
  const float* bias;  // or nullptr
  void* y;
  float* workspace;
  int* no_memory;  // set to 1 where a thread had no memory to work in
};

struct Conv1x1Kernels {
  bool (*forward)(const Conv1x1Forward&);
  int64_t (*workspace)(int64_t in, int64_t out);  // float32 elements
};
const Conv1x1Kernels& conv1x1_kernels();

// x (N,I,H,W) and y (N,O,H,W) channels-last; w (O,I) and bias (O,) float32, a bias without elements is none.
struct Conv1x1Views {
  TensorView x, w, bias, y, workspace;
};
int64_t conv1x1_workspace(int64_t in, int64_t out);
Status conv1x1_forward(const Conv1x1Views& views);

struct Conv1x1Backward {
  int64_t pixels, in, out;
  DType dtype;  // of x, dy and dx
  const void *x, *dy;
  const float* w;
  void* dx;  // or nullptr
  float *dw, *d_bias;
  float* workspace;
  int* no_memory;
};

struct Conv1x1BackwardKernels {
  bool (*backward)(const Conv1x1Backward&);
  int64_t (*workspace)(int64_t pixels, int64_t in, int64_t out);  // float32 elements
};
const Conv1x1BackwardKernels& conv1x1_backward_kernels();

// Images channels-last; dx without elements: not wanted. dw (O,I) and d_bias (O,) float32.
struct Conv1x1BackwardViews {
  TensorView x, dy, w, dx, dw, d_bias, workspace;
};
int64_t conv1x1_backward_workspace(int64_t pixels, int64_t in, int64_t out);
Status conv1x1_backward(const Conv1x1BackwardViews& views);

}  // namespace spinecore
