// Checks the arguments of the recurrent residual convolution in training and hands them to the kernels of the selected
// instruction set.
#include "spinecore/recurrent_residual_conv_bn.h"

#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(RecurrenceKernels, recurrent_residual_conv_bn_kernels)
SPINECORE_ISA_KERNELS(RecurrenceBackwardKernels, recurrent_residual_conv_bn_backward_kernels)

namespace {

RecurrenceGeometry geometry_of(const TensorView& x, int64_t steps) {
  return {x.shape[0], x.shape[2], x.shape[3], x.shape[1], steps, x.dtype};
}

// x, the z and what both directions read. Everything is checked before any of it is used.
Status check_common(const char* op, const TensorView& x, const std::vector<TensorView>& z, const TensorView& w_in,
                    const TensorView& w_rec, const TensorView& weight, const TensorView& bias) {
  Status status = first_complaint({isa_environment_status(), check_channels_last(op, x)});
  if (!status.ok()) return status;
  if (z.empty() || x.numel() == 0) {
    return Status::wrong_value(std::string(op) + ": " + (z.empty() ? "there is no z" : "x has no elements"));
  }
  for (const TensorView& image : z) {
    status = first_complaint({check_channels_last(op, image), check_like(op, image, x)});
    if (!status.ok()) return status;
  }
  const int64_t channels = x.shape[1], rows = static_cast<int64_t>(z.size());
  const int64_t weights = winograd_weights_size(channels, channels);
  return first_complaint({check_float32(op, w_in, {weights}), check_float32(op, w_rec, {weights}),
                          check_float32(op, weight, {rows, channels}), check_float32(op, bias, {rows, channels})});
}

// An image like x, or one without elements where it is not needed.
Status check_image_like(const char* op, const TensorView& image, const TensorView& x, bool needed) {
  if (!needed && image.numel() == 0) return {};
  return first_complaint({check_channels_last(op, image), check_like(op, image, x)});
}

Status check_apart_from_z(const char* op, const TensorView& written, const std::vector<TensorView>& z) {
  for (const TensorView& image : z) {
    Status status = check_apart(op, written, image);
    if (!status.ok()) return status;
  }
  return {};
}

Status run_forward(const char* op, const RecurrenceForwardViews& v, bool batch_statistics, double eps, bool residual,
                   bool* finite) {
  Status status = check_common(op, v.x, v.z, v.w_in, v.w_rec, v.weight, v.bias);
  if (!status.ok()) return status;
  const int64_t channels = v.x.shape[1], rows = static_cast<int64_t>(v.z.size());
  status = check_workspace(op, v.workspace, recurrence_forward_workspace(v.x, rows - 1));
  std::vector<void*> z;
  for (size_t i = 0; status.ok() && i < v.z.size(); ++i) {
    status = check_apart_all(op, {&v.z[i]}, {&v.x, &v.w_in, &v.w_rec, &v.weight, &v.bias, &v.workspace});
    for (size_t j = 0; status.ok() && j < i; ++j) status = check_apart(op, v.z[i], v.z[j]);
    z.push_back(v.z[i].data);
  }
  if (status.ok() && batch_statistics) {
    status = first_complaint({
        check_image_like(op, v.y, v.x, true),
        check_float32(op, v.mean, {rows, channels}),
        check_float32(op, v.variance, {rows, channels}),
        check_float32(op, v.inverse_std, {rows, channels}),
        check_apart_all(op, {&v.y, &v.mean, &v.variance, &v.inverse_std, &v.workspace},
                        {&v.x, &v.w_in, &v.w_rec, &v.weight, &v.bias}),
    });
    for (const TensorView* written : {&v.y, &v.mean, &v.variance, &v.inverse_std}) {
      if (status.ok()) status = check_apart_from_z(op, *written, v.z);
    }
  }
  if (!status.ok()) return status;
  int not_finite = 0;
  const RecurrenceForward arguments{
      geometry_of(v.x, rows - 1),
      {v.w_in.floats(), channels, channels},
      {v.w_rec.floats(), channels, channels},
      v.weight.floats(),
      v.bias.floats(),
      batch_statistics,
      residual,
      eps,
      v.x.data,
      v.y.data,
      z.data(),
      v.mean.floats(),
      v.variance.floats(),
      v.inverse_std.floats(),
      v.workspace.floats(),
      &not_finite,
  };
  if (!recurrent_residual_conv_bn_kernels().forward(arguments)) return thread_failure(op);
  *finite = not_finite == 0;
  return {};
}

}  // namespace

int64_t recurrence_forward_workspace(const TensorView& x, int64_t steps) {
  return recurrent_residual_conv_bn_kernels().forward_workspace(geometry_of(x, steps));
}

int64_t recurrence_backward_workspace(const TensorView& x, int64_t steps) {
  return recurrent_residual_conv_bn_backward_kernels().workspace(geometry_of(x, steps));
}

Status recurrence_forward(const RecurrenceForwardViews& v, double eps, bool residual, bool* finite) {
  const char* op = "recurrence_forward";
  if (!(eps > 0.)) return Status::wrong_value(std::string(op) + ": eps is not above 0");
  return run_forward(op, v, true, eps, residual, finite);
}

Status recurrence_preactivations(const RecurrenceForwardViews& v, bool* finite) {
  return run_forward("recurrence_preactivations", v, false, 0., false, finite);
}

Status recurrence_backward(const RecurrenceBackwardViews& v, bool batch_statistics, bool residual, bool* finite) {
  const char* op = "recurrence_backward";
  Status status = check_common(op, v.x, v.z, v.w_in, v.w_rec, v.weight, v.bias);
  if (!status.ok()) return status;
  const int64_t c = v.x.shape[1], rows = static_cast<int64_t>(v.z.size());
  status = first_complaint({
      check_image_like(op, v.dy, v.x, true),
      check_image_like(op, v.dx, v.x, true),
      check_image_like(op, v.du, v.x, rows > 1),
      check_image_like(op, v.dd, v.x, rows > 1),
      check_float32(op, v.mean, {rows, c}),
      check_float32(op, v.inverse_std, {rows, c}),
      check_float32(op, v.dw_in, {c, c, 3, 3}),
      check_float32(op, v.dw_rec, {c, c, 3, 3}),
      check_float32(op, v.d_weight, {rows, c}),
      check_float32(op, v.d_bias, {rows, c}),
      check_workspace(op, v.workspace, recurrence_backward_workspace(v.x, rows - 1)),
      check_apart_all(op, {&v.dx, &v.du, &v.dd, &v.dw_in, &v.dw_rec, &v.d_weight, &v.d_bias, &v.workspace},
                      {&v.x, &v.dy, &v.w_in, &v.w_rec, &v.weight, &v.bias, &v.mean, &v.inverse_std}),
  });
  for (const TensorView* written : {&v.dx, &v.du, &v.dd, &v.dw_in, &v.dw_rec, &v.d_weight, &v.d_bias, &v.workspace}) {
    if (status.ok()) status = check_apart_from_z(op, *written, v.z);
  }
  if (!status.ok()) return status;
  std::vector<const void*> z;
  for (const TensorView& image : v.z) z.push_back(image.data);
  int not_finite = 0;
  const RecurrenceBackward arguments{
      geometry_of(v.x, rows - 1),
      {v.w_in.floats(), c, c},
      {v.w_rec.floats(), c, c},
      v.weight.floats(),
      v.bias.floats(),
      v.mean.floats(),
      v.inverse_std.floats(),
      batch_statistics,
      residual,
      v.x.data,
      v.dy.data,
      z.data(),
      v.dx.data,
      v.du.data,
      v.dd.data,
      v.dw_in.floats(),
      v.dw_rec.floats(),
      v.d_weight.floats(),
      v.d_bias.floats(),
      v.workspace.floats(),
      &not_finite,
  };
  if (!recurrent_residual_conv_bn_backward_kernels().backward(arguments)) return thread_failure(op);
  *finite = not_finite == 0;
  return {};
}

}  // namespace spinecore
