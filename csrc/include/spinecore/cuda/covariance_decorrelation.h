// Covariance penalty on a GPU: what csrc/cuda/covariance_decorrelation.cu launches and its entry checks. Knows no CUDA
// header; `stream` is a cudaStream_t. Nothing here allocates, synchronises or touches the default stream.
#pragma once

#include "spinecore/covariance_decorrelation.h"
#include "spinecore/cuda/element.h"
#include "spinecore/cuda/feature_plan.h"
#include "spinecore/status.h"

namespace spinecore::cuda {

// With few rows the Gram matrix (rows, rows) is kept, else the covariance (columns, columns).
struct CovariancePlan {
  int rows = 0, columns = 0;
  Element element = Element::float32;
  bool gram = false;
  StatisticsPlan statistics;
  ProductPlan forward, backward;
  // Floats of both workspaces: two factors first. The statistics and the product use the same memory in turn; the
  // squares of the tiles are doubles, the slopes of the columns one float each.
  int64_t squares_at = 0, shared_at = 0, forward_workspace = 0;
  int64_t slopes_at = 0, product_at = 0, backward_workspace = 0;
};

CovariancePlan covariance_plan(int rows, int columns, Element element);

struct CovarianceForwardPointers {
  const void* z;
  const float* mask;  // (rows,) of 1 and 0, or null
  float *off_diagonal, *hinge, *kept, *moments, *workspace;
};
struct CovarianceBackwardPointers {
  const void* z;
  const float *mask, *d_off_diagonal, *d_hinge, *kept, *moments;
  void* dz;
  float* workspace;
};

Status covariance_forward(const CovariancePlan& plan, float gamma, float eps, const CovarianceForwardPointers& p,
                          void* stream);
Status covariance_backward(const CovariancePlan& plan, float gamma, float eps, const CovarianceBackwardPointers& p,
                           void* stream);

// Checked entries: every view is validated before it is read.
Status covariance_forward(const CovarianceForwardViews& views, float gamma, float eps, void* stream);
Status covariance_backward(const CovarianceBackwardViews& views, float gamma, float eps, void* stream);

}  // namespace spinecore::cuda
