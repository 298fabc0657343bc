#include "spinecore/cross_decorrelation.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

std::vector<Workload> penalty(bool normalise) {
  const int64_t rows = 150, width_a = 70, width_b = 40;
  const CrossGeometry g = cross_geometry(rows, width_a, width_b, normalise);
  const auto a = tensor("a", {rows, width_a}), b = tensor("b", {rows, width_b});
  const auto da = tensor("da", {rows, width_a}), db = tensor("db", {rows, width_b});
  const auto value = tensor("penalty", {}), grad = tensor("grad", {});
  const auto kept = tensor("kept", {g.kept_rows, g.kept_columns}), statistics = tensor("statistics", {g.statistics});
  const auto forward_space = tensor("workspace", {g.forward_workspace});
  const auto backward_space = tensor("workspace", {g.backward_workspace});
  const std::string name = normalise ? "orthogonality_penalty " : "cross_covariance_penalty ";
  const auto forward = [=] {
    return cross_forward({a->view, b->view, value->view, kept->view, statistics->view, forward_space->view}, normalise);
  };
  driver::require(forward().ok(), "cross_forward");
  const auto backward = [=] {
    return cross_backward(
        {a->view, b->view, grad->view, kept->view, statistics->view, da->view, db->view, backward_space->view},
        normalise);
  };
  return {{name + "forward float32", forward}, {name + "backward float32", backward}};
}

std::vector<Workload> prepare() {
  std::vector<Workload> all = penalty(false);
  for (Workload& workload : penalty(true)) all.push_back(std::move(workload));
  return all;
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
