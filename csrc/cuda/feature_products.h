// Products of matrices of features on a GPU, and what one batch of features is centred and scaled with. Shared by the
// penalties: covariance_decorrelation.cu and cross_decorrelation.cu.
#pragma once

#include <cstdint>

#include "spinecore/cuda/element.h"
#include "spinecore/cuda/feature_plan.h"
#include "spinecore/status.h"

#if !defined(__CUDACC__) && !defined(SPINECORE_CUDA_EMULATION)
#error "for CUDA sources"
#endif
#include <cuda_runtime.h>

namespace spinecore::cuda {

// A row-major matrix without gaps. Its rows count minus the mean of the columns (two floats a column, or null) and
// times a weight of the row (or null).
struct Factor {
  const void* data;
  int rows, columns;
  Element element;
  const float *mean, *mean_low, *weights;
  bool vectors;           // four elements may be read at once
  bool without_diagonal;  // it counts as zero
  bool mask_only;         // weights other than zero count as one
};

// Whether four elements of these rows may be read or written at once.
bool fours(const void* data, int columns, Element element);

Factor plain_factor(const float* data, int rows, int columns);
Factor centred_factor(const void* data, int rows, int columns, Element element, const float* mean,
                      const float* mean_low, const float* weights);

// How the factor lies under the sum: `along` has its columns beside the result's, its rows are summed over.
struct Side {
  Factor factor;
  bool along;
};

// What becomes of the product. Kept: result = product / *divisor (1 where null), in both halves where it is symmetric,
// and a sum of squares (of products with `partner` where there is one) for every tile. Else a gradient: result =
// product * *scale (1 where null) + centred * column.
struct Outcome {
  void* result;
  Element element;  // of the result
  bool vectors;     // four elements of it may be written at once
  // kept
  const float *divisor, *partner;
  double* squares;  // one for every tile
  bool symmetric, with_diagonal;
  // gradient
  const float *scale, *column;  // column may be null
  Factor centred;
};

// Zeroes the tickets and multiplies; `workspace` as in the plan.
cudaError_t multiply(const Side& left, const Side& right, const ProductPlan& plan, const Outcome& outcome, bool keep,
                     float* workspace, void* stream);

// mean and what float32 leaves of it, of the rows whose weight is not zero; *divisor = max(rows - 1, 1). With
// `variance`, that too, from a second pass.
cudaError_t column_statistics(const Factor& factor, const StatisticsPlan& plan, float* mean, float* mean_low,
                              float* variance, float* divisor, float* workspace, void* stream);

}  // namespace spinecore::cuda
