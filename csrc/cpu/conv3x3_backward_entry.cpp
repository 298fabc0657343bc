// Checks the arguments of the backward of the 3x3 convolution and hands them to the kernel of the selected instruction
// set.
#include "spinecore/conv3x3.h"
#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(Conv3x3BackwardKernels, conv3x3_backward_kernels)

namespace {

// Like `model`, or without elements where it is not wanted.
Status check_optional(const char* op, const TensorView& image, const TensorView& model) {
  if (image.numel() == 0) return {};
  return first_complaint({check_channels_last(op, image), check_like(op, image, model)});
}

}  // namespace

int64_t conv3x3_backward_workspace(int64_t n, int64_t height, int64_t width, int64_t in, int64_t out) {
  return conv3x3_backward_kernels().workspace(n, height, width, in, out);
}

Status conv3x3_backward(const Conv3x3BackwardViews& v, bool* finite) {
  const char* op = "conv3x3_backward";
  Status status =
      first_complaint({isa_environment_status(), check_channels_last(op, v.x), check_channels_last(op, v.dy)});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], in = v.x.shape[1], h = v.x.shape[2], w = v.x.shape[3], out = v.dy.shape[1];
  if (v.x.numel() == 0 || out == 0) return Status::wrong_value(std::string(op) + ": x or dy has no elements");
  const bool wants_dx = v.dx.numel() > 0;
  status = first_complaint({
      check_image_shape(op, v.dy, v.x, {n, out, h, w}),
      check_optional(op, v.y, v.dy),
      check_optional(op, v.d_residual, v.dy),
      check_optional(op, v.dx, v.x),
      wants_dx ? check_float32(op, v.weights, {winograd_weights_size(out, in)}) : Status{},
      check_float32(op, v.dw, {out, in, 3, 3}),
      check_float32(op, v.d_bias, {out}),
      check_workspace(op, v.workspace, conv3x3_backward_workspace(n, h, w, in, out)),
      check_apart_all(op, {&v.dx, &v.d_residual, &v.dw, &v.d_bias, &v.workspace}, {&v.x, &v.dy, &v.y, &v.weights}),
  });
  if (!status.ok()) return status;
  int not_finite = 0;
  const Conv3x3Backward arguments{
      n,
      h,
      w,
      in,
      out,
      {wants_dx ? v.weights.floats() : nullptr, out, in},
      v.x.dtype,
      v.x.data,
      v.dy.data,
      v.y.numel() ? v.y.data : nullptr,
      wants_dx ? v.dx.data : nullptr,
      v.d_residual.numel() ? v.d_residual.data : nullptr,
      v.dw.floats(),
      v.d_bias.floats(),
      v.workspace.floats(),
      &not_finite,
  };
  if (!conv3x3_backward_kernels().backward(arguments)) return thread_failure(op);
  *finite = not_finite == 0;
  return {};
}

}  // namespace spinecore
