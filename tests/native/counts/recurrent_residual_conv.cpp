#include "spinecore/recurrent_residual_conv.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

Workload unit(DType dtype) {
  const int64_t n = 1, c = 32, h = 26, w = 30, steps = 2;
  const auto x = tensor("x", {n, c, h, w}, dtype, true), y = tensor("y", {n, c, h, w}, dtype, true);
  const auto weight = tensor("w", {c, c, 3, 3}), scale = tensor("scale", {c}), shift = tensor("shift", {c});
  const auto weights = tensor("weights", {winograd_weights_size(c, c)});
  driver::require(winograd_transform(weight->view, false, weights->view).ok(), "transform");
  const auto workspace = tensor("workspace", {recurrent_forward_workspace(n, c, h, w, steps, 1)});
  const std::string name = dtype == DType::bfloat16 ? "bfloat16" : "float32";
  return {"recurrent_residual_conv forward " + name, [=] {
            bool finite = false;
            return recurrent_residual_conv_forward(
                {x->view, weights->view, weights->view, scale->view, shift->view, y->view, workspace->view}, steps,
                true, &finite);
          }};
}

std::vector<Workload> prepare() { return {unit(DType::float32), unit(DType::bfloat16)}; }

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
