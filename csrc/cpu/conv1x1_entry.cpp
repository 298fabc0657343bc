// Checks the arguments of the 1x1 convolution and its backward and hands them to the kernels of the selected
// instruction set.
#include "spinecore/conv1x1.h"

#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(Conv1x1Kernels, conv1x1_kernels)
SPINECORE_ISA_KERNELS(Conv1x1BackwardKernels, conv1x1_backward_kernels)

namespace {

Status no_memory_to_work_in(const char* op) {
  return Status::internal(std::string(op) + ": not enough memory to work in");
}

}  // namespace

int64_t conv1x1_workspace(int64_t in, int64_t out) { return conv1x1_kernels().workspace(in, out); }

int64_t conv1x1_backward_workspace(int64_t pixels, int64_t in, int64_t out) {
  return conv1x1_backward_kernels().workspace(pixels, in, out);
}

Status conv1x1_forward(const Conv1x1Views& v) {
  const char* op = "conv1x1_forward";
  Status status =
      first_complaint({isa_environment_status(), check_channels_last(op, v.x), check_channels_last(op, v.y)});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], in = v.x.shape[1], h = v.x.shape[2], w = v.x.shape[3], out = v.y.shape[1];
  status = first_complaint({
      check_image_shape(op, v.y, v.x, {n, out, h, w}),
      check_float32(op, v.w, {out, in}),
      v.bias.numel() ? check_float32(op, v.bias, {out}) : Status{},
      check_workspace(op, v.workspace, conv1x1_workspace(in, out)),
      check_apart_all(op, {&v.y, &v.workspace}, {&v.x, &v.w, &v.bias}),
  });
  if (!status.ok() || v.y.numel() == 0) return status;
  int no_memory = 0;
  const Conv1x1Forward arguments{
      n * h * w,
      in,
      out,
      v.x.dtype,
      v.x.data,
      v.w.floats(),
      v.bias.numel() ? v.bias.floats() : nullptr,
      v.y.data,
      v.workspace.floats(),
      &no_memory,
  };
  if (!conv1x1_kernels().forward(arguments)) return thread_failure(op);
  return no_memory ? no_memory_to_work_in(op) : Status{};
}

Status conv1x1_backward(const Conv1x1BackwardViews& v) {
  const char* op = "conv1x1_backward";
  Status status =
      first_complaint({isa_environment_status(), check_channels_last(op, v.x), check_channels_last(op, v.dy)});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], in = v.x.shape[1], h = v.x.shape[2], w = v.x.shape[3], out = v.dy.shape[1];
  if (v.x.numel() == 0 || out == 0) return Status::wrong_value(std::string(op) + ": x or dy has no elements");
  const bool wants_dx = v.dx.numel() > 0;
  status = first_complaint({
      check_image_shape(op, v.dy, v.x, {n, out, h, w}),
      wants_dx ? check_channels_last(op, v.dx) : Status{},
      wants_dx ? check_like(op, v.dx, v.x) : Status{},
      check_float32(op, v.w, {out, in}),
      check_float32(op, v.dw, {out, in}),
      check_float32(op, v.d_bias, {out}),
      check_workspace(op, v.workspace, conv1x1_backward_workspace(n * h * w, in, out)),
      check_apart_all(op, {&v.dx, &v.dw, &v.d_bias, &v.workspace}, {&v.x, &v.dy, &v.w}),
  });
  if (!status.ok()) return status;
  int no_memory = 0;
  const Conv1x1Backward arguments{
      n * h * w,
      in,
      out,
      v.x.dtype,
      v.x.data,
      v.dy.data,
      v.w.floats(),
      wants_dx ? v.dx.data : nullptr,
      v.dw.floats(),
      v.d_bias.floats(),
      v.workspace.floats(),
      &no_memory,
  };
  if (!conv1x1_backward_kernels().backward(arguments)) return thread_failure(op);
  return no_memory ? no_memory_to_work_in(op) : Status{};
}

}  // namespace spinecore
