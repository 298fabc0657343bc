#include "spinecore/scse_gate.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

Workload gate(bool channels_last, DType dtype, bool with_backward) {
  const int64_t n = 1, c = 64, h = 32, w = 32, r = 8;
  const auto image = [&](const char* name) { return tensor(name, {n, c, h, w}, dtype, channels_last); };
  const auto x = image("x"), dy = image("dy"), y = image("y"), dx = image("dx");
  const auto w1 = tensor("w1", {r, c}), b1 = tensor("b1", {r}), w2 = tensor("w2", {c, r}), b2 = tensor("b2", {c});
  const auto ws = tensor("ws", {c}), bs = tensor("bs", {1});
  const auto channel = tensor("channel_gate", {n, c}), spatial = tensor("spatial_gate", {n, h * w});
  const auto pooled = tensor("pooled", {n, c});
  const auto dw1 = tensor("dw1", {r, c}), db1 = tensor("db1", {r}), dw2 = tensor("dw2", {c, r});
  const auto db2 = tensor("db2", {c}), dws = tensor("dws", {c}), dbs = tensor("dbs", {1});
  const auto workspace =
      tensor("workspace", {scse_gate_backward_workspace(scse_gate_geometry(n, c, h * w, r, channels_last))});
  const std::string name = std::string("scse_gate ") + (with_backward ? "backward " : "forward ") +
                           (channels_last ? "nhwc " : "nchw ") + (dtype == DType::bfloat16 ? "bfloat16" : "float32");
  const auto forward = [=] {
    return scse_gate_forward({x->view, w1->view, b1->view, w2->view, b2->view, ws->view, bs->view, y->view,
                              channel->view, spatial->view, pooled->view},
                             0);
  };
  if (!with_backward) return {name, forward};
  driver::require(forward().ok(), name);
  return {name, [=] {
            return scse_gate_backward({x->view, dy->view, w1->view, b1->view, w2->view, b2->view, ws->view,
                                       channel->view, spatial->view, pooled->view, dx->view, dw1->view, db1->view,
                                       dw2->view, db2->view, dws->view, dbs->view, workspace->view},
                                      0);
          }};
}

std::vector<Workload> prepare() {
  return {gate(true, DType::float32, false), gate(false, DType::float32, false), gate(true, DType::bfloat16, false),
          gate(true, DType::float32, true), gate(false, DType::float32, true)};
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
