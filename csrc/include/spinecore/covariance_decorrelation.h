// Covariance decorrelation of one batch of features (VICReg), forward and backward on the CPU.
//
//   C = (z - mean)^T (z - mean) / (n - 1)          n rows count
//   off_diagonal = sum_{i != j} C_ij^2 / D;        hinge = mean_j relu(gamma - sqrt(C_jj + eps))
//
// With few rows the Gram matrix G = (z - mean) (z - mean)^T / (n - 1) says the same: the squares of C and of G have one
// sum, and (z - mean) C = G (z - mean).
#pragma once

#include <cstdint>

#include "spinecore/feature_products.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

struct CovarianceGeometry {
  int64_t rows, width;
  bool gram;         // the Gram matrix (rows, rows) is kept, not the covariance (width, width)
  TileGrid tiles;    // forward
  StripGrid strips;  // backward
  int64_t forward_workspace, backward_workspace;
};

CovarianceGeometry covariance_geometry(int64_t rows, int64_t width);

struct CovarianceForward {
  CovarianceGeometry geometry;
  const void* z;
  bool half;          // z is bfloat16
  const float* mask;  // (rows,) of 1 and 0, or null
  float gamma, eps;
  float *off_diagonal, *hinge;
  float *kept, *moments;  // moments (3, width): the mean, what float32 leaves of it, the variance
  float* workspace;
};

struct CovarianceBackward {
  CovarianceGeometry geometry;
  const void* z;
  bool half;
  const float* mask;
  float gamma, eps;
  const float *d_off_diagonal, *d_hinge;
  const float *kept, *moments;
  void* dz;
  float* workspace;
};

// False when the owner of the threads failed.
struct CovarianceKernels {
  bool (*forward)(const CovarianceForward&);
  bool (*backward)(const CovarianceBackward&);
};

// The kernels of the selected instruction set.
const CovarianceKernels& covariance_decorrelation_kernels();

// Checked entries. `mask` has no elements where every row counts.
struct CovarianceForwardViews {
  TensorView z, mask, off_diagonal, hinge, kept, moments, workspace;
};
struct CovarianceBackwardViews {
  TensorView z, mask, d_off_diagonal, d_hinge, kept, moments, dz, workspace;
};
Status covariance_forward(const CovarianceForwardViews& views, float gamma, float eps);
Status covariance_backward(const CovarianceBackwardViews& views, float gamma, float eps);

}  // namespace spinecore
