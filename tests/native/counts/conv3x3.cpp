#include "spinecore/conv3x3.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

std::vector<Workload> prepare() {
  const int64_t n = 1, c = 32, o = 48, h = 26, w = 30;
  const auto x = tensor("x", {n, c, h, w}, DType::float32, true);
  const auto y = tensor("y", {n, o, h, w}, DType::float32, true);
  const auto weight = tensor("w", {o, c, 3, 3}), bias = tensor("bias", {o});
  const auto residual = std::make_shared<driver::Buffer>("residual", std::vector<int64_t>{0, o, h, w});
  const auto transformed = tensor("weights", {winograd_weights_size(c, o)});
  const auto transform = [=] { return winograd_transform(weight->view, false, transformed->view); };
  driver::require(transform().ok(), "winograd_transform");
  const auto forward = [=] {
    bool finite = false;
    return conv3x3_forward({x->view, transformed->view, bias->view, residual->view, y->view}, true, &finite);
  };
  return {{"winograd transform of weights", transform}, {"conv3x3 forward float32", forward}};
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
