#include "spinecore/covariance_decorrelation.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

std::vector<Workload> penalty(int64_t rows, int64_t width) {
  const CovarianceGeometry g = covariance_geometry(rows, width);
  const auto z = tensor("z", {rows, width}), dz = tensor("dz", {rows, width}), mask = tensor("mask", {0});
  const auto off = tensor("off_diagonal", {}), hinge = tensor("hinge", {});
  const auto d_off = tensor("d_off_diagonal", {}), d_hinge = tensor("d_hinge", {});
  const auto kept = tensor("kept", {g.tiles.rows, g.tiles.rows}), moments = tensor("moments", {3, width});
  const auto forward_space = tensor("workspace", {g.forward_workspace});
  const auto backward_space = tensor("workspace", {g.backward_workspace});
  const std::string size = " " + std::to_string(rows) + "x" + std::to_string(width) + " float32";
  const auto forward = [=] {
    return covariance_forward(
        {z->view, mask->view, off->view, hinge->view, kept->view, moments->view, forward_space->view}, 1.f, 1e-4f);
  };
  driver::require(forward().ok(), "covariance_forward");
  const auto backward = [=] {
    return covariance_backward(
        {z->view, mask->view, d_off->view, d_hinge->view, kept->view, moments->view, dz->view, backward_space->view},
        1.f, 1e-4f);
  };
  return {{"covariance_penalty forward" + size, forward}, {"covariance_penalty backward" + size, backward}};
}

std::vector<Workload> prepare() {
  std::vector<Workload> all = penalty(200, 96);
  for (Workload& workload : penalty(48, 130)) all.push_back(std::move(workload));
  return all;
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
