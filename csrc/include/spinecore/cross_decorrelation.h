// Decorrelation between two paired batches of features, forward and backward on the CPU.
//
//   cross         = mean(C^2),   C = (a - mean)^T (b - mean) / (B - 1)                  (Da, Db)
//   orthogonality = mean(P^2),   P = A^T B, columns centred, then rows over (their norm + 1e-6)
//
// With few rows two Gram matrices say the same: the squares of A^T B sum to sum (A A^T) * (B B^T), and
// B (A^T B)^T = (B B^T) A.
#pragma once

#include <cstdint>

#include "spinecore/feature_products.h"
#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

struct CrossGeometry {
  int64_t rows, width_a, width_b;
  bool normalise;                // orthogonality
  bool gram;                     // both Gram matrices (2 * rows, rows) are kept, not the product (width_a, width_b)
  TileGrid tiles, more_tiles;    // forward: of the product; or of the Gram matrices of a and of b
  StripGrid strips_a, strips_b;  // backward: of da and of db
  int64_t kept_rows, kept_columns;
  // For a, then for b: the mean and what float32 leaves of it. Then, to normalise, the norms of the rows of a, of b.
  int64_t statistics;
  int64_t packed_size, tiles_size, partial_size;  // parts of the workspaces
  int64_t forward_workspace, backward_workspace;
};

CrossGeometry cross_geometry(int64_t rows, int64_t width_a, int64_t width_b, bool normalise);

struct CrossForward {
  CrossGeometry geometry;
  const void *a, *b;
  bool half;  // a and b are bfloat16
  float *penalty, *kept, *statistics;
  float* workspace;
};

struct CrossBackward {
  CrossGeometry geometry;
  const void *a, *b;
  bool half;
  const float *grad, *kept, *statistics;
  void *da, *db;
  float* workspace;
};

// False when the owner of the threads failed.
struct CrossKernels {
  bool (*forward)(const CrossForward&);
  bool (*backward)(const CrossBackward&);
};

// The kernels of the selected instruction set.
const CrossKernels& cross_decorrelation_kernels();

// Checked entries.
struct CrossForwardViews {
  TensorView a, b, penalty, kept, statistics, workspace;
};
struct CrossBackwardViews {
  TensorView a, b, grad, kept, statistics, da, db, workspace;
};
Status cross_forward(const CrossForwardViews& views, bool normalise);
Status cross_backward(const CrossBackwardViews& views, bool normalise);

}  // namespace spinecore
