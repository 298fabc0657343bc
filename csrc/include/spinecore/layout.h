// Copies between planes (N, C, H*W) and rows of channels (N, H*W, C).
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

// Each sample is a matrix of `rows` rows of `columns` elements; the result has rows and columns exchanged.
struct Exchange {
  int64_t samples, rows, columns;
  DType dtype;
  const void* from;
  void* to;
};

struct LayoutKernels {
  bool (*exchange)(const Exchange&);
};
const LayoutKernels& layout_kernels();

// Copies an NCHW image to a channels-last one of the same shape and dtype, or the other way round.
Status copy_layout(const TensorView& from, const TensorView& to);

}  // namespace spinecore
