// Checks the arguments of the penalties between two batches on a GPU and hands them to their launches.
#include "feature_checks.h"
#include "spinecore/cuda/cross_decorrelation.h"

namespace spinecore::cuda {
namespace {

Status read_plan(const char* op, const TensorView& a, const TensorView& b, bool normalise, CrossPlan* plan) {
  const int64_t rows = a.shape[0], width_a = a.dims == 2 ? a.shape[1] : 0, width_b = b.dims == 2 ? b.shape[1] : 0;
  Status status = check_device_features(op, a, rows, width_a);
  if (status.ok()) status = check_device_features(op, b, rows, width_b);
  if (status.ok()) status = check_same_element(op, b, a);
  if (!status.ok()) return status;
  *plan = cross_plan(static_cast<int>(rows), static_cast<int>(width_a), static_cast<int>(width_b), element_of(a),
                     normalise);
  return status;
}

Status check_kept(const char* op, const CrossPlan& p, const TensorView& kept, const TensorView& statistics) {
  const int64_t rows = p.rows, widths = int64_t{p.width_a} + p.width_b;
  Status status =
      p.gram ? check_device_floats(op, kept, {2 * rows, rows}) : check_device_floats(op, kept, {p.width_a, p.width_b});
  if (!status.ok()) return status;
  return check_device_floats(op, statistics, {2 * widths + (p.normalise ? 2 * rows : 0)});
}

}  // namespace

Status cross_forward(const CrossForwardViews& v, bool normalise, void* stream) {
  const char* op = "cross_forward";
  CrossPlan plan;
  Status status = read_plan(op, v.a, v.b, normalise, &plan);
  if (!status.ok()) return status;
  status = first_complaint({
      check_device_floats(op, v.penalty, {}),
      check_kept(op, plan, v.kept, v.statistics),
      check_device_workspace(op, v.workspace, plan.forward_workspace),
      check_apart_all(op, {&v.penalty, &v.kept, &v.statistics, &v.workspace}, {&v.a, &v.b}),
  });
  if (!status.ok()) return status;
  return cross_forward(
      plan, {v.a.data, v.b.data, v.penalty.floats(), v.kept.floats(), v.statistics.floats(), v.workspace.floats()},
      stream);
}

Status cross_backward(const CrossBackwardViews& v, bool normalise, void* stream) {
  const char* op = "cross_backward";
  CrossPlan plan;
  Status status = read_plan(op, v.a, v.b, normalise, &plan);
  if (!status.ok()) return status;
  status = first_complaint({
      check_device_floats(op, v.grad, {}),
      check_kept(op, plan, v.kept, v.statistics),
      check_device_features(op, v.da, plan.rows, plan.width_a),
      check_same_element(op, v.da, v.a),
      check_device_features(op, v.db, plan.rows, plan.width_b),
      check_same_element(op, v.db, v.a),
      check_device_workspace(op, v.workspace, plan.backward_workspace),
      check_apart_all(op, {&v.da, &v.db, &v.workspace}, {&v.a, &v.b, &v.grad, &v.kept, &v.statistics}),
  });
  if (!status.ok()) return status;
  return cross_backward(plan,
                        {v.a.data, v.b.data, v.grad.floats(), v.kept.floats(), v.statistics.floats(), v.da.data,
                         v.db.data, v.workspace.floats()},
                        stream);
}

}  // namespace spinecore::cuda
