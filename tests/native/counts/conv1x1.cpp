#include "spinecore/conv1x1.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

std::vector<Workload> prepare() {
  const int64_t n = 1, c = 40, o = 48, h = 26, w = 30;
  const auto image = [&](const char* name, int64_t channels) {
    return tensor(name, {n, channels, h, w}, DType::float32, true);
  };
  const auto x = image("x", c), dx = image("dx", c), y = image("y", o), dy = image("dy", o);
  const auto weight = tensor("w", {o, c}), bias = tensor("bias", {o});
  const auto dw = tensor("dw", {o, c}), d_bias = tensor("d_bias", {o});
  const auto workspace = tensor("workspace", {conv1x1_workspace(c, o)});
  const auto more = tensor("workspace", {conv1x1_backward_workspace(n * h * w, c, o)});
  return {{"conv1x1 forward float32",
           [=] { return conv1x1_forward({x->view, weight->view, bias->view, y->view, workspace->view}); }},
          {"conv1x1 backward float32", [=] {
             return conv1x1_backward({x->view, dy->view, weight->view, dx->view, dw->view, d_bias->view, more->view});
           }}};
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
