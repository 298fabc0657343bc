// Recurrent residual convolution with a fixed affine map after every convolution, forward on the CPU.
//
//   d   = conv(x, w_in)
//   u_0 = relu(scale_0 * d + shift_0)
//   u_k = relu(scale_k * (d + conv(u_{k-1}, w_rec)) + shift_k),  k = 1..steps
//   y   = x + u_steps   (without residual: u_steps)
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"
#include "spinecore/winograd.h"

namespace spinecore {

struct RecurrentForward {
  int64_t n, channels, height, width, steps;
  WinogradWeights w_in, w_rec;
  DType dtype;  // of x and y
  bool residual;
  const float *scale, *shift;
  int64_t next_step;  // from one step's scale and shift to the next: channels, or 0 where all share one
  const void* x;
  void* y;
  float* workspace;  // nullptr: all convolutions advance together, row by row, and none is kept whole
  int* not_finite;   // set to 1 where y holds a NaN or an infinity
};

// Least rows of tiles a thread: around a band of rows, `steps` of them are computed twice on either side.
inline int64_t recurrent_band_tiles(int64_t steps) { return 6 * steps + 1; }

// float32 elements of the workspace that is faster with so many threads: 0, where all convolutions advance together, or
// whole images between one convolution and the next. Results are the same.
int64_t recurrent_forward_workspace(int64_t n, int64_t channels, int64_t height, int64_t width, int64_t steps,
                                    int64_t threads);

struct RecurrentKernels {
  bool (*forward)(const RecurrentForward&);
};
const RecurrentKernels& recurrent_residual_conv_kernels();

// x, y (N,C,H,W) channels-last; transformed weights; scale, shift (C,) or (steps+1, C) float32; workspace as above, for
// any number of threads. `finite` as in conv3x3_forward.
struct RecurrentForwardViews {
  TensorView x, w_in, w_rec, scale, shift, y, workspace;
};
Status recurrent_residual_conv_forward(const RecurrentForwardViews& views, int64_t steps, bool residual, bool* finite);

}  // namespace spinecore
