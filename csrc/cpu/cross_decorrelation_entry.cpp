// Checks the arguments of the penalties between two batches and hands them to the kernel of the selected instruction
// set.
#include <algorithm>

#include "spinecore/cpu_features.h"
#include "spinecore/cross_decorrelation.h"
#include "spinecore/feature_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(CrossKernels, cross_decorrelation_kernels)

CrossGeometry cross_geometry(int64_t rows, int64_t width_a, int64_t width_b, bool normalise) {
  CrossGeometry g{};
  g.rows = rows;
  g.width_a = width_a;
  g.width_b = width_b;
  g.normalise = normalise;
  g.gram = rows * (width_a + width_b) <= width_a * width_b;
  g.tiles = g.gram ? tile_grid(rows, rows, width_a, true) : tile_grid(width_a, width_b, rows, false);
  g.more_tiles = g.gram ? tile_grid(rows, rows, width_b, true) : g.tiles;
  g.strips_a = strip_grid(rows, g.gram ? rows : width_b, width_a, !g.gram);
  g.strips_b = strip_grid(rows, g.gram ? rows : width_a, width_b, !g.gram);
  g.kept_rows = g.gram ? 2 * rows : width_a;
  g.kept_columns = g.gram ? rows : width_b;
  g.statistics = 2 * (width_a + width_b) + (normalise ? 2 * rows : 0);
  const int64_t widest = std::max(width_a, width_b);
  const int64_t sums = ((rows + sum_rows_block - 1) / sum_rows_block + 1) * widest;
  g.packed_size = std::max(g.tiles.packed_size, g.more_tiles.packed_size);
  g.tiles_size = std::max(g.tiles.tiles_size, g.more_tiles.tiles_size);
  g.partial_size = std::max({sums, 2 * g.tiles.tiles, 2 * rows});
  g.forward_workspace = g.packed_size + g.tiles_size + g.partial_size + 2 * rows;
  g.backward_workspace = g.partial_size + 2 * rows + std::max(g.strips_a.workspace, g.strips_b.workspace) +
                         (normalise ? rows * widest : 0);
  return g;
}

namespace {

Status check_pair(const char* op, const TensorView& a, const TensorView& b) {
  Status status = first_complaint({isa_environment_status(), check_two_dimensions(op, a), check_two_dimensions(op, b)});
  if (!status.ok()) return status;
  status = first_complaint({check_matrix(op, a, a.shape[0], a.shape[1]), check_matrix(op, b, a.shape[0], b.shape[1])});
  if (!status.ok() || a.dtype == b.dtype) return status;
  return Status::wrong_type(std::string(op) + ": arguments 'a' and 'b' have two dtypes: give both the same");
}

}  // namespace

Status cross_forward(const CrossForwardViews& v, bool normalise) {
  const char* op = normalise ? "orthogonality_forward" : "cross_covariance_forward";
  Status status = check_pair(op, v.a, v.b);
  if (!status.ok()) return status;
  const CrossGeometry geometry = cross_geometry(v.a.shape[0], v.a.shape[1], v.b.shape[1], normalise);
  status = first_complaint({
      check_float32(op, v.penalty, {}),
      check_float32(op, v.kept, {geometry.kept_rows, geometry.kept_columns}),
      check_float32(op, v.statistics, {geometry.statistics}),
      check_workspace(op, v.workspace, geometry.forward_workspace),
      check_apart_all(op, {&v.penalty, &v.kept, &v.statistics, &v.workspace}, {&v.a, &v.b}),
  });
  if (!status.ok()) return status;
  const CrossForward arguments{geometry,
                               v.a.data,
                               v.b.data,
                               v.a.dtype == DType::bfloat16,
                               v.penalty.floats(),
                               v.kept.floats(),
                               v.statistics.floats(),
                               v.workspace.floats()};
  return cross_decorrelation_kernels().forward(arguments) ? Status{} : thread_failure(op);
}

Status cross_backward(const CrossBackwardViews& v, bool normalise) {
  const char* op = normalise ? "orthogonality_backward" : "cross_covariance_backward";
  Status status = check_pair(op, v.a, v.b);
  if (!status.ok()) return status;
  const CrossGeometry geometry = cross_geometry(v.a.shape[0], v.a.shape[1], v.b.shape[1], normalise);
  status = first_complaint({
      check_float32(op, v.grad, {}),
      check_float32(op, v.kept, {geometry.kept_rows, geometry.kept_columns}),
      check_float32(op, v.statistics, {geometry.statistics}),
      check_matrix(op, v.da, geometry.rows, geometry.width_a),
      check_matrix(op, v.db, geometry.rows, geometry.width_b),
      check_like(op, v.da, v.a),
      check_like(op, v.db, v.b),
      check_workspace(op, v.workspace, geometry.backward_workspace),
      check_apart_all(op, {&v.da, &v.db, &v.workspace}, {&v.a, &v.b, &v.grad, &v.kept, &v.statistics}),
  });
  if (!status.ok() || geometry.rows == 0) return status;
  const CrossBackward arguments{geometry,
                                v.a.data,
                                v.b.data,
                                v.a.dtype == DType::bfloat16,
                                v.grad.floats(),
                                v.kept.floats(),
                                v.statistics.floats(),
                                v.da.data,
                                v.db.data,
                                v.workspace.floats()};
  return cross_decorrelation_kernels().backward(arguments) ? Status{} : thread_failure(op);
}

}  // namespace spinecore
