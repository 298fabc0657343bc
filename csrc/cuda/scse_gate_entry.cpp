// Checks the arguments of the scSE gate on a GPU and hands them to the launches of scse_gate.cu.
#include <algorithm>
#include <initializer_list>
#include <string>

#include "device_checks.h"
#include "spinecore/cuda/scse_gate.h"

namespace spinecore::cuda {
namespace {

struct Problem {
  int64_t n = 0, c = 0, p = 0, hidden = 0;
  bool channels_last = false;
  Element element = Element::float32;
};

Status check_sizes(const char* op, const TensorView& x, const Problem& problem) {
  const std::string name = op;
  const int64_t most = int64_t{1} << 31;
  if (problem.c < 1 || problem.c > scse_gate_most_channels || problem.hidden < 1 ||
      problem.hidden > scse_gate_most_hidden) {
    return Status::wrong_value(name + ": C = " + std::to_string(problem.c) + " and hidden width " +
                               std::to_string(problem.hidden) + ", expected 1 to " +
                               std::to_string(scse_gate_most_channels) + " and 1 to " +
                               std::to_string(scse_gate_most_hidden) + ": use backend='reference'");
  }
  if (problem.n < 1 || problem.p < 1 || problem.c * problem.p >= most) {
    return Status::wrong_value(name + ": argument 'x' has N = " + std::to_string(problem.n) + " and " +
                               std::to_string(problem.c * problem.p) +
                               " elements a sample, expected at least one and fewer than 2^31");
  }
  const int width = problem.element == Element::float32 ? 4 : 8;
  const bool aligned = problem.c % width == 0 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
  if (problem.channels_last && problem.c > 256 && !aligned) {
    return Status::wrong_value(name + ": channels-last with C = " + std::to_string(problem.c) +
                               " > 256 needs C to be a multiple of " + std::to_string(width) +
                               " and memory aligned to 16 bytes: make x contiguous as NCHW");
  }
  return {};
}

// Everything there is to know of x and w1 before the other views are compared with them.
Status read_problem(const char* op, std::initializer_list<const TensorView*> images, const TensorView& w1, int mode,
                    Problem* problem) {
  const TensorView& x = **images.begin();
  Status status = check_device_image(op, x);
  if (!status.ok()) return status;
  if (mode != 0 && mode != 1) {
    return Status::wrong_value(std::string(op) + ": mode is " + std::to_string(mode) + ", expected 0 (add) or 1 (max)");
  }
  if (w1.dims != 2) return Status::wrong_value(std::string(op) + ": argument 'w1' is not a matrix (hidden width, C)");
  problem->n = x.shape[0];
  problem->c = x.shape[1];
  problem->p = x.shape[2] * x.shape[3];
  problem->hidden = w1.shape[0];
  problem->element = element_of(x);
  bool contiguous = true, channels_last = true;
  for (const TensorView* image : images) {
    status = check_device_image(op, *image);
    if (status.ok()) status = check_same_image(op, *image, x);
    if (!status.ok()) return status;
    const ImageLayout layout = image_layout(*image);
    contiguous = contiguous && layout.contiguous;
    channels_last = channels_last && layout.channels_last;
  }
  if (!contiguous && !channels_last) {
    return Status::wrong_value(std::string(op) +
                               ": the images are neither all NCHW nor all channels-last: give them "
                               "the same memory format");
  }
  problem->channels_last = !contiguous;
  return check_sizes(op, x, *problem);
}

ScseGatePlan plan_of(const Problem& p, bool backward) {
  return scse_gate_plan(p.n, static_cast<int>(p.c), static_cast<int>(p.p), static_cast<int>(p.hidden), p.channels_last,
                        p.element, backward);
}

}  // namespace

Status scse_gate_forward(const ScseGateForwardViews& v, const TensorView& workspace, int mode, void* stream) {
  const char* op = "scse_gate_forward";
  Problem problem;
  Status status = read_problem(op, {&v.x, &v.y}, v.w1, mode, &problem);
  if (!status.ok()) return status;
  const auto [n, c, p, hidden, channels_last, element] = problem;
  const ScseGatePlan plan = plan_of(problem, false);
  status = first_complaint({
      check_device_floats(op, v.w1, {hidden, c}),
      check_device_bias(op, v.b1, hidden),
      check_device_floats(op, v.w2, {c, hidden}),
      check_device_bias(op, v.b2, c),
      check_device_floats(op, v.ws, {c}),
      check_device_bias(op, v.bs, 1),
      check_device_floats(op, v.channel_gate, {n, c}),
      check_device_floats(op, v.spatial_gate, {n, p}),
      check_device_floats(op, v.pooled, {n, c}),
      check_device_workspace(op, workspace, plan.workspace),
      check_apart_all(op, {&v.y, &v.channel_gate, &v.spatial_gate, &v.pooled, &workspace},
                      {&v.x, &v.w1, &v.b1, &v.w2, &v.b2, &v.ws, &v.bs}),
  });
  if (!status.ok()) return status;
  const ScseGateForwardPointers pointers{
      v.x.data,
      {v.w1.floats(), bias_pointer(v.b1), v.w2.floats(), bias_pointer(v.b2), v.ws.floats()},
      bias_pointer(v.bs),
      v.y.data,
      v.channel_gate.floats(),
      v.spatial_gate.floats(),
      v.pooled.floats(),
      workspace.floats(),
  };
  return scse_gate_forward(plan, static_cast<GateMode>(mode), pointers, stream);
}

Status scse_gate_backward(const ScseGateBackwardViews& v, int mode, void* stream) {
  const char* op = "scse_gate_backward";
  Problem problem;
  Status status = read_problem(op, {&v.x, &v.dy, &v.dx}, v.w1, mode, &problem);
  if (!status.ok()) return status;
  const auto [n, c, p, hidden, channels_last, element] = problem;
  const ScseGatePlan plan = plan_of(problem, true);
  status = first_complaint({
      check_device_floats(op, v.w1, {hidden, c}),
      check_device_bias(op, v.b1, hidden),
      check_device_floats(op, v.w2, {c, hidden}),
      check_device_bias(op, v.b2, c),
      check_device_floats(op, v.ws, {c}),
      check_device_floats(op, v.channel_gate, {n, c}),
      check_device_floats(op, v.spatial_gate, {n, p}),
      check_device_floats(op, v.pooled, {n, c}),
      check_device_floats(op, v.dw1, {hidden, c}),
      check_device_floats(op, v.db1, {hidden}),
      check_device_floats(op, v.dw2, {c, hidden}),
      check_device_floats(op, v.db2, {c}),
      check_device_floats(op, v.dws, {c}),
      check_device_floats(op, v.dbs, {1}),
      check_device_workspace(op, v.workspace, plan.workspace),
      check_apart_all(op, {&v.dx, &v.dw1, &v.db1, &v.dw2, &v.db2, &v.dws, &v.dbs, &v.workspace},
                      {&v.x, &v.dy, &v.w1, &v.b1, &v.w2, &v.b2, &v.ws, &v.channel_gate, &v.spatial_gate, &v.pooled}),
  });
  if (!status.ok()) return status;
  const ScseGateBackwardPointers pointers{
      v.x.data,
      v.dy.data,
      {v.w1.floats(), bias_pointer(v.b1), v.w2.floats(), bias_pointer(v.b2), v.ws.floats()},
      v.channel_gate.floats(),
      v.spatial_gate.floats(),
      v.pooled.floats(),
      v.dx.data,
      v.dw1.floats(),
      v.db1.floats(),
      v.dw2.floats(),
      v.db2.floats(),
      v.dws.floats(),
      v.dbs.floats(),
      v.workspace.floats(),
  };
  return scse_gate_backward(plan, static_cast<GateMode>(mode), pointers, stream);
}

}  // namespace spinecore::cuda
