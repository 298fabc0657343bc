// Checks the arguments of the covariance penalty and hands them to the kernel of the selected instruction set.
#include "spinecore/covariance_decorrelation.h"

#include <algorithm>

#include "spinecore/cpu_features.h"
#include "spinecore/feature_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(CovarianceKernels, covariance_decorrelation_kernels)

CovarianceGeometry covariance_geometry(int64_t rows, int64_t width) {
  const bool gram = rows <= width / 2;
  const int64_t side = gram ? rows : width, depth = gram ? width : rows;
  const TileGrid tiles = tile_grid(side, side, depth, true);
  const StripGrid strips = strip_grid(rows, side, width, !gram);
  const int64_t sums = ((rows + sum_rows_block - 1) / sum_rows_block + 1) * width;
  const int64_t squares = 2 * tiles.tiles + (gram ? 0 : (rows + depth_block - 1) / depth_block * width);
  const int64_t forward = tiles.packed_size + tiles.tiles_size + std::max(sums, squares);
  return {rows, width, gram, tiles, strips, forward, strips.workspace};
}

namespace {

Status check_mask(const char* op, const TensorView& mask, int64_t rows) {
  return check_float32(op, mask, {mask.numel() == 0 ? 0 : rows});
}

const float* mask_of(const TensorView& mask) { return mask.numel() == 0 ? nullptr : mask.floats(); }

}  // namespace

Status covariance_forward(const CovarianceForwardViews& v, float gamma, float eps) {
  const char* op = "covariance_forward";
  Status status = first_complaint({isa_environment_status(), check_two_dimensions(op, v.z)});
  if (!status.ok()) return status;
  const int64_t rows = v.z.shape[0], width = v.z.shape[1];
  const CovarianceGeometry geometry = covariance_geometry(rows, width);
  status = first_complaint({
      check_matrix(op, v.z, rows, width),
      check_mask(op, v.mask, rows),
      check_float32(op, v.off_diagonal, {}),
      check_float32(op, v.hinge, {}),
      check_float32(op, v.kept, {geometry.tiles.rows, geometry.tiles.rows}),
      check_float32(op, v.moments, {3, width}),
      check_workspace(op, v.workspace, geometry.forward_workspace),
      check_apart_all(op, {&v.off_diagonal, &v.hinge, &v.kept, &v.moments, &v.workspace}, {&v.z, &v.mask}),
  });
  if (!status.ok()) return status;
  const CovarianceForward arguments{geometry,
                                    v.z.data,
                                    v.z.dtype == DType::bfloat16,
                                    mask_of(v.mask),
                                    gamma,
                                    eps,
                                    v.off_diagonal.floats(),
                                    v.hinge.floats(),
                                    v.kept.floats(),
                                    v.moments.floats(),
                                    v.workspace.floats()};
  return covariance_decorrelation_kernels().forward(arguments) ? Status{} : thread_failure(op);
}

Status covariance_backward(const CovarianceBackwardViews& v, float gamma, float eps) {
  const char* op = "covariance_backward";
  Status status = first_complaint({isa_environment_status(), check_two_dimensions(op, v.z)});
  if (!status.ok()) return status;
  const int64_t rows = v.z.shape[0], width = v.z.shape[1];
  const CovarianceGeometry geometry = covariance_geometry(rows, width);
  status = first_complaint({
      check_matrix(op, v.z, rows, width),
      check_mask(op, v.mask, rows),
      check_float32(op, v.d_off_diagonal, {}),
      check_float32(op, v.d_hinge, {}),
      check_float32(op, v.kept, {geometry.tiles.rows, geometry.tiles.rows}),
      check_float32(op, v.moments, {3, width}),
      check_matrix(op, v.dz, rows, width),
      check_like(op, v.dz, v.z),
      check_workspace(op, v.workspace, geometry.backward_workspace),
      check_apart_all(op, {&v.dz, &v.workspace}, {&v.z, &v.mask, &v.d_off_diagonal, &v.d_hinge, &v.kept, &v.moments}),
  });
  if (!status.ok() || rows == 0) return status;
  const CovarianceBackward arguments{geometry,
                                     v.z.data,
                                     v.z.dtype == DType::bfloat16,
                                     mask_of(v.mask),
                                     gamma,
                                     eps,
                                     v.d_off_diagonal.floats(),
                                     v.d_hinge.floats(),
                                     v.kept.floats(),
                                     v.moments.floats(),
                                     v.dz.data,
                                     v.workspace.floats()};
  return covariance_decorrelation_kernels().backward(arguments) ? Status{} : thread_failure(op);
}

}  // namespace spinecore
