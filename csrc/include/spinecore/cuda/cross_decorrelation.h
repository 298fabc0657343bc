// Penalties between two batches of features on a GPU: what csrc/cuda/cross_decorrelation.cu launches and its entry
// checks. Knows no CUDA header; `stream` is a cudaStream_t. Nothing here allocates, synchronises or touches the default
// stream.
#pragma once

#include "spinecore/cross_decorrelation.h"
#include "spinecore/cuda/element.h"
#include "spinecore/cuda/feature_plan.h"
#include "spinecore/status.h"

namespace spinecore::cuda {

// With few rows both Gram matrices (2 rows, rows) are kept, else the product (width_a, width_b).
struct CrossPlan {
  int rows = 0, width_a = 0, width_b = 0;
  Element element = Element::float32;
  bool normalise = false, gram = false;
  StatisticsPlan statistics_a, statistics_b;
  ProductPlan product, of_a, of_b;  // forward: the product, or the Gram matrices
  ProductPlan to_a, to_b;           // backward
  // Floats of the workspaces: one factor first, then the weights of the rows of a, of b (to normalise). What is
  // `shared` serves one launch after another. Backward, to normalise: how far each row's gradient lies along it, and
  // the gradient of the normalised rows.
  int64_t weights_at = 0, squares_at = 0, shared_at = 0, forward_workspace = 0;
  int64_t along_at = 0, gradient_at = 0, product_at = 0, backward_workspace = 0;
};

CrossPlan cross_plan(int rows, int width_a, int width_b, Element element, bool normalise);

struct CrossForwardPointers {
  const void *a, *b;
  float *penalty, *kept, *statistics, *workspace;
};
struct CrossBackwardPointers {
  const void *a, *b;
  const float *grad, *kept, *statistics;
  void *da, *db;
  float* workspace;
};

Status cross_forward(const CrossPlan& plan, const CrossForwardPointers& p, void* stream);
Status cross_backward(const CrossPlan& plan, const CrossBackwardPointers& p, void* stream);

// Checked entries: every view is validated before it is read.
Status cross_forward(const CrossForwardViews& views, bool normalise, void* stream);
Status cross_backward(const CrossBackwardViews& views, bool normalise, void* stream);

}  // namespace spinecore::cuda
