// Weights of a 3x3 convolution in the form that the Winograd kernels read.
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

// Panels of results, each (36 positions, in, panel): the panel is as wide as the instruction set likes it, so that
// weights serve only the set that transformed them. Results are padded with zeros to whole vectors.
struct WinogradWeights {
  const float* data;
  int64_t in, out;
};

// float32 elements of the transformed weights under the selected instruction set.
int64_t winograd_weights_size(int64_t in, int64_t out);

struct WinogradTransform {
  const float* w;  // (out, in, 3, 3), or (in, out, 3, 3) with `transposed`
  int64_t in, out;
  bool transposed;  // of the data gradient: in and out exchanged, turned by half a turn
  float* to;
};

struct WinogradKernels {
  int lanes;
  bool (*transform)(const WinogradTransform&);
};
const WinogradKernels& winograd_kernels();

// w (O, I, 3, 3) float32 -> transformed weights of the convolution I -> O, or with `transposed` of O -> I.
Status winograd_transform(const TensorView& w, bool transposed, const TensorView& to);

}  // namespace spinecore
