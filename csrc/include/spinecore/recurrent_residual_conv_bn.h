// Recurrent residual convolution in training, forward and backward on the CPU.
//
//   z_0 = conv(x, w_in);  u_k = relu(norm_k(z_k));  z_k = z_0 + conv(u_{k-1}, w_rec), k = 1..steps;  y = x + u_steps
//
// norm_k is batch normalisation with the statistics of the batch, or a fixed affine map per channel. Only the z_k are
// kept: u_k is computed from z_k wherever it is read.
#pragma once

#include <cstdint>
#include <vector>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"
#include "spinecore/winograd.h"

namespace spinecore {

struct RecurrenceGeometry {
  int64_t n, height, width, channels, steps;
  DType dtype;  // of every image
};

struct RecurrenceForward {
  RecurrenceGeometry geometry;
  WinogradWeights w_in, w_rec;
  const float *weight, *bias;  // (steps + 1, C): of the normalisation, or scale and shift of the affine map
  bool batch_statistics;       // else z alone is computed, under the affine maps
  bool residual;
  double eps;
  const void* x;
  void* y;
  void* const* z;
  float *mean, *variance, *inverse_std;  // (steps + 1, C)
  float* workspace;
  int* not_finite;
};

struct RecurrenceBackward {
  RecurrenceGeometry geometry;
  WinogradWeights w_in, w_rec;                      // of the data gradients
  const float *weight, *bias, *mean, *inverse_std;  // (steps + 1, C)
  bool batch_statistics;                            // else mean and inverse_std are constants
  bool residual;
  const void *x, *dy;
  const void* const* z;
  void *dx, *du, *dd;  // du and dd: images to work in; none with steps = 0
  float *dw_in, *dw_rec, *d_weight, *d_bias;
  float* workspace;
  int* not_finite;
};

struct RecurrenceKernels {
  bool (*forward)(const RecurrenceForward&);
  int64_t (*forward_workspace)(const RecurrenceGeometry&);  // float32 elements
};
struct RecurrenceBackwardKernels {
  bool (*backward)(const RecurrenceBackward&);
  int64_t (*workspace)(const RecurrenceGeometry&);
};
const RecurrenceKernels& recurrent_residual_conv_bn_kernels();
const RecurrenceBackwardKernels& recurrent_residual_conv_bn_backward_kernels();

// Checked entries. Images are channels-last and of one dtype, everything else is float32. `finite` becomes false where
// something is not finite: the transform spreads a NaN over its tile, so that the caller has to compute everything by
// other means.
struct RecurrenceForwardViews {
  TensorView x, w_in, w_rec, weight, bias, y, mean, variance, inverse_std, workspace;
  std::vector<TensorView> z;
};
struct RecurrenceBackwardViews {
  TensorView x, dy, w_in, w_rec, weight, bias, mean, inverse_std, dx, dw_in, dw_rec, d_weight, d_bias, du, dd,
      workspace;
  std::vector<TensorView> z;
};
int64_t recurrence_forward_workspace(const TensorView& x, int64_t steps);
int64_t recurrence_backward_workspace(const TensorView& x, int64_t steps);
Status recurrence_forward(const RecurrenceForwardViews& views, double eps, bool residual, bool* finite);
// The z of fixed affine maps.
Status recurrence_preactivations(const RecurrenceForwardViews& views, bool* finite);
Status recurrence_backward(const RecurrenceBackwardViews& views, bool batch_statistics, bool residual, bool* finite);

}  // namespace spinecore
