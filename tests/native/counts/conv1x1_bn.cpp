#include "spinecore/conv1x1_bn.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

std::vector<Workload> prepare() {
  const int64_t n = 1, c = 40, o = 48, h = 26, w = 30;
  const auto image = [&](const char* name, int64_t channels) {
    return tensor(name, {n, channels, h, w}, DType::float32, true);
  };
  const auto x = image("x", c), dx = image("dx", c), z = image("z", o), y = image("y", o), dy = image("dy", o);
  const auto weight = tensor("w", {o, c}), gamma = tensor("gamma", {o}), beta = tensor("beta", {o});
  const auto mean = tensor("mean", {o}), variance = tensor("variance", {o}), inverse = tensor("inverse", {o});
  const auto dw = tensor("dw", {o, c}), d_gamma = tensor("d_gamma", {o}), d_beta = tensor("d_beta", {o});
  const auto workspace = tensor("workspace", {conv1x1_bn_workspace(n * h * w, c, o)});
  const auto forward = [=] {
    return conv1x1_bn_forward({x->view, weight->view, gamma->view, beta->view, z->view, y->view, mean->view,
                               variance->view, inverse->view, workspace->view},
                              1e-5, true);
  };
  driver::require(forward().ok(), "conv1x1_bn_forward");
  const auto backward = [=] {
    return conv1x1_bn_backward({x->view, dy->view, weight->view, gamma->view, beta->view, z->view, mean->view,
                                inverse->view, dx->view, dw->view, d_gamma->view, d_beta->view, workspace->view},
                               true);
  };
  return {{"conv1x1_bn forward float32", forward}, {"conv1x1_bn backward float32", backward}};
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
