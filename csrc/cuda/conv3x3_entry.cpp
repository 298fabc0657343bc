// Checks the arguments of the 3x3 convolution on a GPU and hands them to the launches of conv3x3.cu.
#include <string>

#include "device_checks.h"
#include "spinecore/cuda/conv3x3.h"
#include "spinecore/entry_checks.h"

namespace spinecore::cuda {
namespace {

// Channels-last, of x's dtype and exactly this many channels; or absent.
Status check_like_x(const char* op, const TensorView& view, const TensorView& x, int64_t channels, bool needed) {
  if (view.numel() == 0 && !needed) return {};
  Status status = check_device_image(op, view);
  if (status.ok() && element_of(view) != element_of(x)) {
    status = Status::wrong_type(argument(op, view) + "is not of the dtype of '" + x.name + "'");
  }
  if (status.ok() && !image_layout(view).channels_last) {
    status = Status::wrong_value(argument(op, view) + "is not channels-last");
  }
  if (status.ok() && (view.shape[0] != x.shape[0] || view.shape[1] != channels || view.shape[2] != x.shape[2] ||
                      view.shape[3] != x.shape[3])) {
    status = Status::wrong_value(argument(op, view) + "has not the shape of '" + x.name + "' with " +
                                 std::to_string(channels) + " channels");
  }
  return status;
}

Status read_plan(const char* op, const TensorView& x, int64_t out, bool tf32, Conv3x3Plan* plan) {
  Status status = check_device_image(op, x);
  if (status.ok()) status = check_like_x(op, x, x, x.shape[1], true);
  if (!status.ok()) return status;
  const int64_t pixels = x.shape[0] * x.shape[2] * x.shape[3], most = int64_t{1} << 31;
  if (pixels < 1 || pixels >= most - product_tile || x.shape[1] < 1 || x.shape[1] >= int64_t{1} << 16 || out < 1 ||
      out >= int64_t{1} << 16) {
    return Status::wrong_value(std::string(op) + ": " + std::to_string(pixels) + " pixels, " +
                               std::to_string(x.shape[1]) + " -> " + std::to_string(out) +
                               " channels: no kernel takes these sizes");
  }
  *plan = conv3x3_plan(static_cast<int>(x.shape[0]), static_cast<int>(x.shape[2]), static_cast<int>(x.shape[3]),
                       static_cast<int>(x.shape[1]), static_cast<int>(out), element_of(x), tf32);
  return {};
}

Status check_weights(const char* op, const TensorView& w, const TensorView& x, int64_t out) {
  Status status = check_here(op, w);
  if (!status.ok()) return status;
  if (element_of(w) != element_of(x)) {
    return Status::wrong_type(argument(op, w) + "is not of the dtype of '" + x.name + "'");
  }
  TensorView same = as_if_on_cpu(w);
  if (is_float16(w) || w.dtype == DType::bfloat16) same.dtype = DType::float32;
  return check_float32(op, same, {out, 9, x.shape[1]});
}

void* present(const TensorView& view) { return view.numel() == 0 ? nullptr : view.data; }

}  // namespace

Status conv3x3_forward(const Conv3x3Views& v, bool relu, bool tf32, void* stream) {
  const char* op = "conv3x3_forward";
  const int64_t out = v.w.dims == 3 ? v.w.shape[0] : 0;
  Conv3x3Plan plan;
  Status status = read_plan(op, v.x, out, tf32, &plan);
  if (!status.ok()) return status;
  status = first_complaint({
      check_weights(op, v.w, v.x, out),
      check_device_bias(op, v.scale, out),
      check_device_bias(op, v.shift, out),
      check_like_x(op, v.addend, v.x, out, false),
      check_like_x(op, v.before, v.x, out, false),
      check_like_x(op, v.after, v.x, out, false),
      check_like_x(op, v.raw, v.x, out, false),
      check_like_x(op, v.y, v.x, out, v.raw.numel() == 0),
      check_apart_all(op, {&v.raw, &v.y}, {&v.x, &v.w, &v.scale, &v.shift, &v.addend, &v.before, &v.after}),
  });
  if (!status.ok()) return status;
  return conv3x3_forward(plan,
                         {v.x.data, v.w.data, bias_pointer(v.scale), bias_pointer(v.shift), present(v.addend),
                          present(v.before), present(v.after), present(v.raw), present(v.y), relu},
                         stream);
}

Status conv3x3_weights(const Conv3x3WeightsViews& v, bool tf32, void* stream) {
  const char* op = "conv3x3_weights";
  const int64_t out = v.dw.dims == 3 ? v.dw.shape[0] : 0;
  Conv3x3Plan plan;
  Status status = read_plan(op, v.x, out, tf32, &plan);
  if (!status.ok()) return status;
  status = first_complaint({
      check_like_x(op, v.dy, v.x, out, true),
      check_device_floats(op, v.dw, {out, 9, plan.in}),
      check_device_workspace(op, v.workspace, plan.workspace),
      check_apart_all(op, {&v.dw, &v.workspace}, {&v.x, &v.dy}),
  });
  if (!status.ok()) return status;
  return conv3x3_weights(plan, v.x.data, v.dy.data, v.dw.floats(), v.workspace.floats(), stream);
}

}  // namespace spinecore::cuda
