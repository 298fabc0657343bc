// Recurrent residual convolution of few channels on a GPU, all steps of a tile in one kernel: what
// csrc/cuda/recurrent_residual_conv.cu launches and its entry checks. Knows no CUDA header; `stream` is a cudaStream_t.
//
//   d = conv(x, w_in);  u_0 = relu(scale_0 d + shift_0);  u_k = relu(scale_k (d + conv(u_{k-1}, w_rec)) + shift_k)
//   y = x + u_steps
//
// Wider images and more steps go through conv3x3.h, one launch a step.
#pragma once

#include <cstdint>

#include "spinecore/cuda/element.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore::cuda {

// A block computes a region of 16 x 16 pixels in every step; each step spoils one more pixel at its rim.
inline constexpr int recurrence_region = 16, recurrence_most_steps = 2;

struct RecurrencePlan {
  int batch = 0, height = 0, width = 0, channels = 0, steps = 0;
  Element element = Element::float32;
  bool residual = true;
  int padded = 0;                // channels as the kernel computes them; 0 where none does
  int side = 0;                  // of the pixels of a region that are right after the last step
  int tiles_x = 0, tiles_y = 0;  // in an image
};

RecurrencePlan recurrence_plan(int batch, int height, int width, int channels, int steps, Element element,
                               bool residual);

// Images (N, H, W, C), channels-last. Weights in the images' type, padded with zeros, in the order in which the
// threads of a warp hold them: see `multiply` in recurrent_residual_conv.cuh. scale and shift float32, `stride` floats
// a step apart (0: shared).
struct RecurrencePointers {
  const void *x, *w_in, *w_rec;
  const float *scale, *shift;
  int scale_stride, shift_stride;
  void* y;
};

Status recurrence_forward(const RecurrencePlan& plan, const RecurrencePointers& p, void* stream);

// Checked entry. scale and shift (1, C) or (steps + 1, C).
struct RecurrenceViews {
  TensorView x, w_in, w_rec, scale, shift, y;
};
Status recurrence_forward(const RecurrenceViews& views, int64_t steps, bool residual, void* stream);

}  // namespace spinecore::cuda
