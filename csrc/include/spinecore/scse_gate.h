// scSE gate (Roy, Navab, Wachinger 2018), forward and backward on the CPU.
//
//   c = sigmoid(w2 relu(w1 mean_hw(x) + b1) + b2)      (N, C)
//   s = sigmoid(<ws, x_p> + bs)                        (N, H*W)
//   y = x * (c + s)   or   x * max(c, s)
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

enum class GateMode : int { add = 0, max = 1 };

// What caller and kernel agree on before any memory is touched. Reductions run over fixed chunks of pixels and are then
// summed in order, so that a result never depends on the number of threads.
struct ScseGateGeometry {
  int64_t n, c, p, reduced;  // p: pixels, H * W; reduced: the hidden width of the channel gate
  bool channels_last;
  int64_t chunk_pixels, chunks;  // of one sample
};

ScseGateGeometry scse_gate_geometry(int64_t n, int64_t c, int64_t p, int64_t reduced, bool channels_last);

struct ScseGateParameters {
  const float *w1, *b1, *w2, *b2, *ws;
};

struct ScseGateForward {
  ScseGateGeometry geometry;
  DType dtype;
  GateMode mode;
  ScseGateParameters parameters;
  float bs;
  const void* x;
  void* y;
  float *channel_gate, *spatial_gate, *pooled;
  float* workspace;
};

struct ScseGateBackward {
  ScseGateGeometry geometry;
  DType dtype;
  GateMode mode;
  ScseGateParameters parameters;
  const void *x, *dy;
  void* dx;
  const float *channel_gate, *spatial_gate, *pooled;
  float *dw1, *db1, *dw2, *db2, *dws, *dbs;
  float* workspace;
};

// float32 elements of workspace.
int64_t scse_gate_forward_workspace(const ScseGateGeometry& geometry);
int64_t scse_gate_backward_workspace(const ScseGateGeometry& geometry);

// False when the owner of the threads failed.
struct ScseGateKernels {
  bool (*forward)(const ScseGateForward&);
  bool (*backward)(const ScseGateBackward&);
};

// The kernels of the selected instruction set.
const ScseGateKernels& scse_gate_kernels();

// Checked entries: every view is validated before it is read. `mode` is 0 (add) or 1 (max).
struct ScseGateForwardViews {
  TensorView x, w1, b1, w2, b2, ws, bs, y, channel_gate, spatial_gate, pooled;
};
struct ScseGateBackwardViews {
  TensorView x, dy, w1, b1, w2, b2, ws, channel_gate, spatial_gate, pooled, dx, dw1, db1, dw2, db2, dws, dbs, workspace;
};
Status scse_gate_forward(const ScseGateForwardViews& views, int mode);
Status scse_gate_backward(const ScseGateBackwardViews& views, int mode);

}  // namespace spinecore
