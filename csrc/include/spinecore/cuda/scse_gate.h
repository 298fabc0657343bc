// scSE gate on a GPU: what csrc/cuda/scse_gate.cu launches and csrc/cuda/scse_gate_entry.cpp checks. Knows no CUDA
// header; `stream` is a cudaStream_t. Nothing here allocates, synchronises or touches the default stream.
#pragma once

#include <cstdint>

#include "spinecore/cuda/element.h"
#include "spinecore/scse_gate.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore::cuda {

// Sizes and the split of the work. A chunk is what one block of the first launch reads: a run of pixels of one sample.
// Chunks form groups, so that whoever adds their sums never has many to wait for.
struct ScseGatePlan {
  int64_t batch = 0;
  int channels = 0, hidden = 0, pixels = 0;
  bool channels_last = false, backward = false;
  Element element = Element::float32;
  int chunk_pixels = 0, chunks = 0, groups = 0;
  // Floats of workspace, each piece 16-byte aligned: tickets of every sample and its groups; sums of every chunk; and,
  // backward only, what the first launch leaves to the second.
  int64_t sums_at = 0, d_spatial_at = 0, samples_at = 0, workspace = 0;
};

constexpr int scse_gate_most_channels = 1024, scse_gate_most_hidden = 512, scse_gate_group_chunks = 16;

ScseGatePlan scse_gate_plan(int64_t batch, int channels, int pixels, int hidden, bool channels_last, Element element,
                            bool backward);

struct ScseGateForwardPointers {
  const void* x;
  ScseGateParameters parameters;
  const float* bs;
  void* y;
  float *channel_gate, *spatial_gate, *pooled, *workspace;
};

struct ScseGateBackwardPointers {
  const void *x, *dy;
  ScseGateParameters parameters;
  const float *channel_gate, *spatial_gate, *pooled;
  void* dx;
  float *dw1, *db1, *dw2, *db2, *dws, *dbs, *workspace;
};

Status scse_gate_forward(const ScseGatePlan& plan, GateMode mode, const ScseGateForwardPointers& pointers,
                         void* stream);
Status scse_gate_backward(const ScseGatePlan& plan, GateMode mode, const ScseGateBackwardPointers& pointers,
                          void* stream);

// Checked entries: every view is validated before it is read.
Status scse_gate_forward(const ScseGateForwardViews& views, const TensorView& workspace, int mode, void* stream);
Status scse_gate_backward(const ScseGateBackwardViews& views, int mode, void* stream);

}  // namespace spinecore::cuda
