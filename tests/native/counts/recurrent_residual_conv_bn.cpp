#include "spinecore/recurrent_residual_conv_bn.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

std::vector<Workload> prepare() {
  const int64_t n = 1, c = 32, h = 26, w = 30, steps = 2;
  const auto image = [&](const char* name) { return tensor(name, {n, c, h, w}, DType::float32, true); };
  const auto rows = [&](const char* name) { return tensor(name, {steps + 1, c}); };
  const auto x = image("x"), y = image("y"), dy = image("dy"), dx = image("dx"), du = image("du"), dd = image("dd");
  const std::vector<std::shared_ptr<driver::Buffer>> z{image("z"), image("z"), image("z")};
  std::vector<TensorView> kept;
  for (const auto& each : z) kept.push_back(each->view);
  const auto weight = tensor("w", {c, c, 3, 3}), dw_in = tensor("dw_in", {c, c, 3, 3});
  const auto dw_rec = tensor("dw_rec", {c, c, 3, 3});
  const auto gamma = rows("weight"), beta = rows("bias"), mean = rows("mean"), variance = rows("variance");
  const auto inverse = rows("inverse_std"), d_gamma = rows("d_weight"), d_beta = rows("d_bias");
  const auto weights = tensor("weights", {winograd_weights_size(c, c)});
  const auto turned = tensor("weights", {winograd_weights_size(c, c)});
  driver::require(winograd_transform(weight->view, false, weights->view).ok(), "transform");
  driver::require(winograd_transform(weight->view, true, turned->view).ok(), "transform");
  const auto forward_space = tensor("workspace", {recurrence_forward_workspace(x->view, steps)});
  const auto backward_space = tensor("workspace", {recurrence_backward_workspace(x->view, steps)});
  const auto forward = [=] {
    (void)z;  // owns what `kept` shows
    bool finite = false;
    return recurrence_forward({x->view, weights->view, weights->view, gamma->view, beta->view, y->view, mean->view,
                               variance->view, inverse->view, forward_space->view, kept},
                              1e-5, true, &finite);
  };
  driver::require(forward().ok(), "recurrence_forward");
  const auto backward = [=] {
    (void)z;
    bool finite = false;
    return recurrence_backward(
        {x->view, dy->view, turned->view, turned->view, gamma->view, beta->view, mean->view, inverse->view, dx->view,
         dw_in->view, dw_rec->view, d_gamma->view, d_beta->view, du->view, dd->view, backward_space->view, kept},
        true, true, &finite);
  };
  return {{"recurrent_residual_conv_bn forward float32", forward},
          {"recurrent_residual_conv_bn backward float32", backward}};
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
