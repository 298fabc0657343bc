// Checks the arguments of the scSE gate and hands them to the kernel of the selected instruction set.
#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>

#include "spinecore/cpu_features.h"
#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"
#include "spinecore/scse_gate.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(ScseGateKernels, scse_gate_kernels)

ScseGateGeometry scse_gate_geometry(int64_t n, int64_t c, int64_t p, int64_t reduced, bool channels_last) {
  // Channels-last: about 16 K elements, so that what the backward reads twice is still in the first cache level or
  // close. NCHW: a run of pixels of one channel long enough to stream, and all channels of it within the second level.
  const int64_t wanted = (channels_last ? int64_t{16384} : int64_t{65536}) / std::max<int64_t>(c, 1) / 64 * 64;
  const int64_t least = channels_last ? 64 : 256, most = channels_last ? 4096 : 1024;
  const int64_t chunk = std::min(std::max(wanted, least), most);
  return {n, c, p, reduced, channels_last, chunk, (p + chunk - 1) / chunk};
}

int64_t scse_gate_forward_workspace(const ScseGateGeometry& g) { return g.n * g.chunks * g.c + g.n * g.reduced; }

int64_t scse_gate_backward_workspace(const ScseGateGeometry& g) {
  return g.n * (g.p + g.chunks * (2 * g.c + 1) + 3 * g.c + 2 * g.reduced + 1);
}

namespace {

Status check_mode(const char* op, int mode) {
  if (mode == 0 || mode == 1) return {};
  return Status::wrong_value(std::string(op) + ": mode is " + std::to_string(mode) + ", expected 0 (add) or 1 (max)");
}

// Images that are read and written side by side must be laid out alike. Both layouts hold when C = 1 or H * W = 1: then
// rows of pixels, or rows of channels, whichever are long.
Status common_layout(const char* op, std::initializer_list<const TensorView*> images, bool* channels_last) {
  ImageLayout common{true, true};
  for (const TensorView* image : images) {
    const ImageLayout layout = image_layout(*image);
    common.contiguous = common.contiguous && layout.contiguous;
    common.channels_last = common.channels_last && layout.channels_last;
    if (!common.contiguous && !common.channels_last) {
      return Status::wrong_value(std::string(op) + ": argument '" + image->name + "' is " +
                                 (layout.contiguous ? "NCHW" : "channels-last") + " and '" + (*images.begin())->name +
                                 "' is not: give both the same memory format");
    }
  }
  const TensorView& x = **images.begin();
  *channels_last = common.channels_last && (!common.contiguous || x.shape[2] * x.shape[3] == 1);
  return {};
}

Status check_width(const char* op, const TensorView& w1) {
  if (w1.dims == 2) return {};
  return Status::wrong_value(std::string(op) + ": argument 'w1' has " + std::to_string(w1.dims) +
                             " dimensions, expected two: (hidden width, C)");
}

}  // namespace

Status scse_gate_forward(const ScseGateForwardViews& v, int mode) {
  const char* op = "scse_gate_forward";
  Status status =
      first_complaint({isa_environment_status(), check_mode(op, mode), check_image(op, v.x), check_width(op, v.w1)});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], c = v.x.shape[1], p = v.x.shape[2] * v.x.shape[3], reduced = v.w1.shape[0];
  bool channels_last = false;
  status = first_complaint({
      check_float32(op, v.w1, {reduced, c}),
      check_float32(op, v.b1, {reduced}),
      check_float32(op, v.w2, {c, reduced}),
      check_float32(op, v.b2, {c}),
      check_float32(op, v.ws, {c}),
      check_float32(op, v.bs, {1}),
      check_image(op, v.y),
      check_like(op, v.y, v.x),
      check_float32(op, v.channel_gate, {n, c}),
      check_float32(op, v.spatial_gate, {n, p}),
      check_float32(op, v.pooled, {n, c}),
      common_layout(op, {&v.x, &v.y}, &channels_last),
      check_apart_all(op, {&v.y, &v.channel_gate, &v.spatial_gate, &v.pooled},
                      {&v.x, &v.w1, &v.b1, &v.w2, &v.b2, &v.ws, &v.bs}),
  });
  if (!status.ok() || n == 0) return status;
  const ScseGateGeometry geometry = scse_gate_geometry(n, c, p, reduced, channels_last);
  const int64_t scratch_size = scse_gate_forward_workspace(geometry);
  // Partial sums, about 1 % of x: the only memory the core takes for itself.
  const std::unique_ptr<float[]> scratch(new (std::nothrow) float[static_cast<size_t>(scratch_size)]);
  if (!scratch)
    return Status::internal(std::string(op) + ": no memory for " + std::to_string(4 * scratch_size) + " bytes");
  const ScseGateForward arguments{
      geometry,
      v.x.dtype,
      static_cast<GateMode>(mode),
      {v.w1.floats(), v.b1.floats(), v.w2.floats(), v.b2.floats(), v.ws.floats()},
      *v.bs.floats(),
      v.x.data,
      v.y.data,
      v.channel_gate.floats(),
      v.spatial_gate.floats(),
      v.pooled.floats(),
      scratch.get(),
  };
  return scse_gate_kernels().forward(arguments) ? Status{} : thread_failure(op);
}

Status scse_gate_backward(const ScseGateBackwardViews& v, int mode) {
  const char* op = "scse_gate_backward";
  Status status =
      first_complaint({isa_environment_status(), check_mode(op, mode), check_image(op, v.x), check_width(op, v.w1)});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], c = v.x.shape[1], p = v.x.shape[2] * v.x.shape[3], reduced = v.w1.shape[0];
  bool channels_last = false;
  status = first_complaint({
      check_image(op, v.dy),
      check_like(op, v.dy, v.x),
      check_image(op, v.dx),
      check_like(op, v.dx, v.x),
      common_layout(op, {&v.x, &v.dy, &v.dx}, &channels_last),
      check_float32(op, v.w1, {reduced, c}),
      check_float32(op, v.b1, {reduced}),
      check_float32(op, v.w2, {c, reduced}),
      check_float32(op, v.b2, {c}),
      check_float32(op, v.ws, {c}),
      check_float32(op, v.channel_gate, {n, c}),
      check_float32(op, v.spatial_gate, {n, p}),
      check_float32(op, v.pooled, {n, c}),
      check_float32(op, v.dw1, {reduced, c}),
      check_float32(op, v.db1, {reduced}),
      check_float32(op, v.dw2, {c, reduced}),
      check_float32(op, v.db2, {c}),
      check_float32(op, v.dws, {c}),
      check_float32(op, v.dbs, {1}),
      check_float32(op, v.workspace, {v.workspace.numel()}),
      check_apart_all(op, {&v.dx, &v.dw1, &v.db1, &v.dw2, &v.db2, &v.dws, &v.dbs, &v.workspace},
                      {&v.x, &v.dy, &v.w1, &v.b1, &v.w2, &v.b2, &v.ws, &v.channel_gate, &v.spatial_gate, &v.pooled}),
  });
  if (!status.ok()) return status;
  const ScseGateGeometry geometry = scse_gate_geometry(n, c, p, reduced, channels_last);
  const int64_t needed = scse_gate_backward_workspace(geometry);
  if (v.workspace.numel() < needed) {
    return Status::wrong_value(std::string(op) + ": argument 'workspace' has " + std::to_string(v.workspace.numel()) +
                               " elements, expected at least " + std::to_string(needed) + " (scse_gate_workspace)");
  }
  const ScseGateBackward arguments{
      geometry,
      v.x.dtype,
      static_cast<GateMode>(mode),
      {v.w1.floats(), v.b1.floats(), v.w2.floats(), v.b2.floats(), v.ws.floats()},
      v.x.data,
      v.dy.data,
      v.dx.data,
      v.channel_gate.floats(),
      v.spatial_gate.floats(),
      v.pooled.floats(),
      v.dw1.floats(),
      v.db1.floats(),
      v.dw2.floats(),
      v.db2.floats(),
      v.dws.floats(),
      v.dbs.floats(),
      v.workspace.floats(),
  };
  return scse_gate_kernels().backward(arguments) ? Status{} : thread_failure(op);
}

}  // namespace spinecore
