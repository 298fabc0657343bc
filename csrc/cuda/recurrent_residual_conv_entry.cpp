// Checks the arguments of the fused recurrent residual convolution and hands them to recurrent_residual_conv.cu.
#include <string>

#include "device_checks.h"
#include "spinecore/cuda/recurrent_residual_conv.h"
#include "spinecore/entry_checks.h"

namespace spinecore::cuda {
namespace {

constexpr const char* op = "recurrent_residual_conv_forward";

Status check_channels_last_image(const TensorView& view, const TensorView& x) {
  Status status = check_device_image(op, view);
  if (status.ok()) status = check_same_image(op, view, x);
  if (status.ok() && !image_layout(view).channels_last) {
    status = Status::wrong_value(argument(op, view) + "is not channels-last");
  }
  return status;
}

Status read_plan(const TensorView& x, int64_t steps, bool residual, RecurrencePlan* plan) {
  Status status = check_channels_last_image(x, x);
  if (!status.ok()) return status;
  const int64_t pixels = x.shape[0] * x.shape[2] * x.shape[3], most = int64_t{1} << 31;
  if (pixels >= 1 && pixels < most && x.shape[1] >= 1 && x.shape[1] <= 64 && steps >= 0 &&
      steps <= recurrence_most_steps) {
    *plan = recurrence_plan(static_cast<int>(x.shape[0]), static_cast<int>(x.shape[2]), static_cast<int>(x.shape[3]),
                            static_cast<int>(x.shape[1]), static_cast<int>(steps), element_of(x), residual);
  }
  if (plan->padded > 0) return {};
  return Status::wrong_value(std::string(op) + ": " + std::to_string(pixels) + " pixels, " +
                             std::to_string(x.shape[1]) + " channels, " + std::to_string(steps) +
                             " steps: no fused kernel takes these sizes, use one launch a step");
}

Status check_weights(const TensorView& w, const TensorView& x, int64_t padded) {
  Status status = check_here(op, w);
  if (!status.ok()) return status;
  if (element_of(w) != element_of(x)) {
    return Status::wrong_type(argument(op, w) + "is not of the dtype of 'x'");
  }
  TensorView same = as_if_on_cpu(w);
  if (is_float16(w) || w.dtype == DType::bfloat16) same.dtype = DType::float32;
  status = check_float32(op, same, {9 * padded * padded});
  return status.ok() ? check_fours(op, w) : status;  // read 16 bytes at a time
}

// One row for all steps, or one for each.
Status check_steps(const TensorView& view, int64_t steps, int64_t channels) {
  return check_device_floats(op, view, {view.dims == 2 && view.shape[0] == 1 ? 1 : steps + 1, channels});
}
int stride_of(const TensorView& view) { return view.shape[0] == 1 ? 0 : static_cast<int>(view.shape[1]); }

}  // namespace

Status recurrence_forward(const RecurrenceViews& v, int64_t steps, bool residual, void* stream) {
  RecurrencePlan plan;
  Status status = read_plan(v.x, steps, residual, &plan);
  if (!status.ok()) return status;
  status = first_complaint({
      check_weights(v.w_in, v.x, plan.padded),
      check_weights(v.w_rec, v.x, plan.padded),
      check_steps(v.scale, steps, plan.channels),
      check_steps(v.shift, steps, plan.channels),
      check_channels_last_image(v.y, v.x),
      check_apart_all(op, {&v.y}, {&v.x, &v.w_in, &v.w_rec, &v.scale, &v.shift}),
  });
  if (!status.ok()) return status;
  return recurrence_forward(plan,
                            {v.x.data, v.w_in.data, v.w_rec.data, v.scale.floats(), v.shift.floats(),
                             stride_of(v.scale), stride_of(v.shift), v.y.data},
                            stream);
}

}  // namespace spinecore::cuda
