// Checks the arguments of the 1x1 convolution with batch normalisation and hands them to the kernels of the selected
// instruction set.
#include "spinecore/conv1x1_bn.h"

#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(Conv1x1BnKernels, conv1x1_bn_kernels)

namespace {

Status finish(const char* op, bool done, int no_memory) {
  if (!done) return thread_failure(op);
  return no_memory ? Status::internal(std::string(op) + ": not enough memory to work in") : Status{};
}

}  // namespace

int64_t conv1x1_bn_workspace(int64_t pixels, int64_t in, int64_t out) {
  return conv1x1_bn_kernels().workspace(pixels, in, out);
}

Status conv1x1_bn_forward(const Conv1x1BnViews& v, double eps, bool relu) {
  const char* op = "conv1x1_bn_forward";
  Status status =
      first_complaint({isa_environment_status(), check_channels_last(op, v.x), check_channels_last(op, v.z)});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], in = v.x.shape[1], h = v.x.shape[2], w = v.x.shape[3], out = v.z.shape[1];
  if (v.x.numel() == 0 || out == 0) return Status::wrong_value(std::string(op) + ": x or z has no elements");
  if (!(eps > 0)) return Status::wrong_value(std::string(op) + ": eps must be a number > 0");
  status = first_complaint({
      check_image_shape(op, v.z, v.x, {n, out, h, w}),
      check_channels_last(op, v.y),
      check_like(op, v.y, v.z),
      check_float32(op, v.w, {out, in}),
      check_float32(op, v.gamma, {out}),
      check_float32(op, v.beta, {out}),
      check_float32(op, v.mean, {out}),
      check_float32(op, v.variance, {out}),
      check_float32(op, v.inverse, {out}),
      check_workspace(op, v.workspace, conv1x1_bn_workspace(n * h * w, in, out)),
      check_apart_all(op, {&v.z, &v.y, &v.mean, &v.variance, &v.inverse, &v.workspace},
                      {&v.x, &v.w, &v.gamma, &v.beta}),
  });
  if (!status.ok()) return status;
  int no_memory = 0;
  const Conv1x1BnForward arguments{{n * h * w, in, out, v.x.dtype, relu, v.x.data, v.w.floats(), v.gamma.floats(),
                                    v.beta.floats(), v.workspace.floats(), &no_memory},
                                   eps,
                                   v.z.data,
                                   v.y.data,
                                   v.mean.floats(),
                                   v.variance.floats(),
                                   v.inverse.floats()};
  return finish(op, conv1x1_bn_kernels().forward(arguments), no_memory);
}

Status conv1x1_bn_backward(const Conv1x1BnBackwardViews& v, bool relu) {
  const char* op = "conv1x1_bn_backward";
  Status status =
      first_complaint({isa_environment_status(), check_channels_last(op, v.x), check_channels_last(op, v.z)});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], in = v.x.shape[1], h = v.x.shape[2], w = v.x.shape[3], out = v.z.shape[1];
  if (v.x.numel() == 0 || out == 0) return Status::wrong_value(std::string(op) + ": x or z has no elements");
  const bool wants_dx = v.dx.numel() > 0;
  status = first_complaint({
      check_image_shape(op, v.z, v.x, {n, out, h, w}),
      check_channels_last(op, v.dy),
      check_like(op, v.dy, v.z),
      wants_dx ? check_channels_last(op, v.dx) : Status{},
      wants_dx ? check_like(op, v.dx, v.x) : Status{},
      check_float32(op, v.w, {out, in}),
      check_float32(op, v.gamma, {out}),
      check_float32(op, v.beta, {out}),
      check_float32(op, v.mean, {out}),
      check_float32(op, v.inverse, {out}),
      check_float32(op, v.dw, {out, in}),
      check_float32(op, v.d_gamma, {out}),
      check_float32(op, v.d_beta, {out}),
      check_workspace(op, v.workspace, conv1x1_bn_workspace(n * h * w, in, out)),
      check_apart_all(op, {&v.dx, &v.dw, &v.d_gamma, &v.d_beta, &v.workspace},
                      {&v.x, &v.dy, &v.z, &v.w, &v.gamma, &v.beta, &v.mean, &v.inverse}),
  });
  if (!status.ok()) return status;
  int no_memory = 0;
  const Conv1x1BnBackward arguments{{n * h * w, in, out, v.x.dtype, relu, v.x.data, v.w.floats(), v.gamma.floats(),
                                     v.beta.floats(), v.workspace.floats(), &no_memory},
                                    v.z.data,
                                    v.dy.data,
                                    v.mean.floats(),
                                    v.inverse.floats(),
                                    wants_dx ? v.dx.data : nullptr,
                                    v.dw.floats(),
                                    v.d_gamma.floats(),
                                    v.d_beta.floats()};
  return finish(op, conv1x1_bn_kernels().backward(arguments), no_memory);
}

}  // namespace spinecore
