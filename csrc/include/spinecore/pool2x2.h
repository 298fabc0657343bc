// Halves height and width: the largest value or the mean of each square of 2 x 2 pixels, float32 on the CPU. An odd
// last row or column is left out, as in torch.nn.MaxPool2d(2) and AvgPool2d(2).
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

enum class Pooling : int { largest, mean };

struct Pool2x2 {
  const float* x;
  float* y;
  int64_t n, height, width, channels;  // of x
  Pooling pooling;
};

struct Pool2x2Kernels {
  bool (*run)(const Pool2x2&);
};
const Pool2x2Kernels& pool2x2_kernels();

// x (N,C,H,W) and y (N,C,H/2,W/2), channels-last. NaN stays NaN.
Status pool2x2(const TensorView& x, int64_t pooling, const TensorView& y);

}  // namespace spinecore
