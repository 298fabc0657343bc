#include "spinecore/conv3x3.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

std::vector<Workload> prepare() {
  const int64_t n = 1, c = 32, o = 48, h = 26, w = 30;
  const auto image = [&](const char* name, int64_t channels) {
    return tensor(name, {n, channels, h, w}, DType::float32, true);
  };
  const auto x = image("x", c), dx = image("dx", c), y = image("y", o), dy = image("dy", o);
  const auto none = tensor("d_residual", {0, o, h, w}), residual = tensor("residual", {0, o, h, w});
  const auto weight = tensor("w", {o, c, 3, 3}), bias = tensor("bias", {o});
  const auto dw = tensor("dw", {o, c, 3, 3}), d_bias = tensor("d_bias", {o});
  const auto weights = tensor("weights", {winograd_weights_size(c, o)});
  const auto turned = tensor("weights", {winograd_weights_size(o, c)});
  const auto workspace = tensor("workspace", {conv3x3_backward_workspace(n, h, w, c, o)});
  const auto transform = [=] { return winograd_transform(weight->view, false, weights->view); };
  driver::require(transform().ok() && winograd_transform(weight->view, true, turned->view).ok(), "transform");
  const auto forward = [=] {
    bool finite = false;
    return conv3x3_forward({x->view, weights->view, bias->view, residual->view, y->view}, true, &finite);
  };
  driver::require(forward().ok(), "conv3x3_forward");
  const auto backward = [=] {
    bool finite = false;
    return conv3x3_backward(
        {x->view, dy->view, y->view, turned->view, dx->view, none->view, dw->view, d_bias->view, workspace->view},
        &finite);
  };
  return {{"winograd transform of weights", transform},
          {"conv3x3 forward float32", forward},
          {"conv3x3 backward float32", backward}};
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
