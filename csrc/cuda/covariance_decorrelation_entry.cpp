// Checks the arguments of the covariance penalty on a GPU and hands them to its launches.
#include "feature_checks.h"
#include "spinecore/cuda/covariance_decorrelation.h"

namespace spinecore::cuda {
namespace {

Status read_plan(const char* op, const TensorView& z, CovariancePlan* plan) {
  const int64_t columns = z.dims == 2 ? z.shape[1] : 0;
  Status status = check_device_features(op, z, z.shape[0], columns);
  if (status.ok()) *plan = covariance_plan(static_cast<int>(z.shape[0]), static_cast<int>(columns), element_of(z));
  return status;
}

}  // namespace

Status covariance_forward(const CovarianceForwardViews& v, float gamma, float eps, void* stream) {
  const char* op = "covariance_forward";
  CovariancePlan plan;
  Status status = read_plan(op, v.z, &plan);
  if (!status.ok()) return status;
  const int64_t side = plan.gram ? plan.rows : plan.columns;
  status = first_complaint({
      check_device_bias(op, v.mask, plan.rows),
      check_device_floats(op, v.off_diagonal, {}),
      check_device_floats(op, v.hinge, {}),
      check_device_floats(op, v.kept, {side, side}),
      check_device_floats(op, v.moments, {3, plan.columns}),
      check_device_workspace(op, v.workspace, plan.forward_workspace),
      check_apart_all(op, {&v.off_diagonal, &v.hinge, &v.kept, &v.moments, &v.workspace}, {&v.z, &v.mask}),
  });
  if (!status.ok()) return status;
  return covariance_forward(plan, gamma, eps,
                            {v.z.data, bias_pointer(v.mask), v.off_diagonal.floats(), v.hinge.floats(), v.kept.floats(),
                             v.moments.floats(), v.workspace.floats()},
                            stream);
}

Status covariance_backward(const CovarianceBackwardViews& v, float gamma, float eps, void* stream) {
  const char* op = "covariance_backward";
  CovariancePlan plan;
  Status status = read_plan(op, v.z, &plan);
  if (!status.ok()) return status;
  const int64_t side = plan.gram ? plan.rows : plan.columns;
  status = first_complaint({
      check_device_bias(op, v.mask, plan.rows),
      check_device_floats(op, v.d_off_diagonal, {}),
      check_device_floats(op, v.d_hinge, {}),
      check_device_floats(op, v.kept, {side, side}),
      check_device_floats(op, v.moments, {3, plan.columns}),
      check_device_features(op, v.dz, plan.rows, plan.columns),
      check_same_element(op, v.dz, v.z),
      check_device_workspace(op, v.workspace, plan.backward_workspace),
      check_apart_all(op, {&v.dz, &v.workspace}, {&v.z, &v.mask, &v.d_off_diagonal, &v.d_hinge, &v.kept, &v.moments}),
  });
  if (!status.ok()) return status;
  return covariance_backward(plan, gamma, eps,
                             {v.z.data, bias_pointer(v.mask), v.d_off_diagonal.floats(), v.d_hinge.floats(),
                              v.kept.floats(), v.moments.floats(), v.dz.data, v.workspace.floats()},
                             stream);
}

}  // namespace spinecore::cuda
