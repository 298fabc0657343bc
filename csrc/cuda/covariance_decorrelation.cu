// Covariance penalty (Bardes, Ponce, LeCun 2022) on a GPU: means, upper-triangle tiles of the covariance or Gram matrix
// centred on the way, the penalties; backward, factors and one product.
// csrc/include/spinecore/covariance_decorrelation.h has the formulas, product.cuh the tiles.
#include "spinecore/cuda/covariance_decorrelation.h"

#include <string>

#include "feature_products.h"
#include "launches.h"
#include "penalty_sums.cuh"

namespace spinecore::cuda {
// One block: sums the squares of the tiles, and the hinge over the variances, which it takes from the diagonal where
// the covariance was kept.
__global__ void __launch_bounds__(penalty_threads)
    covariance_penalties(CovariancePlan plan, float gamma, float eps, const double* squares, const float* kept,
                         float* variance, float* off_diagonal, float* hinge) {
  double square = 0.0, hinges = 0.0, variances = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < plan.forward.tiles; i += penalty_threads) square += squares[i];
  for (int i = static_cast<int>(threadIdx.x); i < plan.columns; i += penalty_threads) {
    const float value = plan.gram ? variance[i] : kept[static_cast<int64_t>(i) * plan.columns + i];
    if (!plan.gram) variance[i] = value;
    variances += static_cast<double>(value) * static_cast<double>(value);
    const float below = gamma - sqrtf(value + eps);
    hinges += static_cast<double>(below < 0.0f ? 0.0f : below);  // a NaN stays one
  }
  square = sum_block(square);
  variances = sum_block(variances);
  hinges = sum_block(hinges);
  if (threadIdx.x == 0) {
    const double off = plan.gram ? square - variances : square;
    *off_diagonal = static_cast<float>((off < 0.0 ? 0.0 : off) / static_cast<double>(plan.columns));
    *hinge = static_cast<float>(hinges / static_cast<double>(plan.columns));
  }
}

// dz = centred * kept * scale + centred * slopes: what both factors are. The Gram form has the diagonal in its product.
__global__ void __launch_bounds__(penalty_threads)
    covariance_slopes(CovariancePlan plan, float gamma, float eps, const float* mask, const float* d_off_diagonal,
                      const float* d_hinge, const float* variance, float* scale, float* slopes) {
  double count = 0.0;
  if (mask != nullptr) {
    for (int i = static_cast<int>(threadIdx.x); i < plan.rows; i += penalty_threads) count += mask[i] != 0.0f;
    count = sum_block(count);
  } else {
    count = plan.rows;
  }
  const float both = 2.0f / static_cast<float>(count > 2.0 ? count - 1.0 : 1.0);
  const float square = 2.0f * *d_off_diagonal / static_cast<float>(plan.columns);
  const int column = static_cast<int>(blockIdx.x) * penalty_threads + static_cast<int>(threadIdx.x);
  if (column == 0) *scale = square * both;
  if (column >= plan.columns) return;
  const float deviation = sqrtf(variance[column] + eps);
  float slope = deviation < gamma ? -0.5f / (deviation * static_cast<float>(plan.columns)) * *d_hinge : 0.0f;
  if (plan.gram) slope -= variance[column] * square;
  slopes[column] = slope * both;
}

namespace {

std::string problem(const char* op, const CovariancePlan& p) {
  return std::string(op) + " for z with B, D = " + std::to_string(p.rows) + ", " + std::to_string(p.columns) + " (" +
         element_name(p.element) + ")";
}

Factor features(const CovariancePlan& plan, const void* z, const float* moments, const float* mask) {
  return centred_factor(z, plan.rows, plan.columns, plan.element, moments, moments + plan.columns, mask);
}

}  // namespace

CovariancePlan covariance_plan(int rows, int columns, Element element) {
  CovariancePlan plan;
  plan.rows = rows;
  plan.columns = columns;
  plan.element = element;
  plan.gram = 2ll * rows <= columns;
  const int side = plan.gram ? rows : columns, depth = plan.gram ? columns : rows;
  plan.statistics = statistics_plan(rows, columns, plan.gram);
  plan.forward = product_plan(side, side, depth, true);
  plan.backward = product_plan(rows, columns, side, false);
  plan.squares_at = 4;
  plan.shared_at = plan.squares_at + round_up(2ll * plan.forward.tiles, 4);
  plan.forward_workspace = plan.shared_at + std::max(plan.statistics.workspace, plan.forward.workspace);
  plan.slopes_at = 4;
  plan.product_at = plan.slopes_at + round_up(columns, 4);
  plan.backward_workspace = plan.product_at + plan.backward.workspace;
  return plan;
}

Status covariance_forward(const CovariancePlan& plan, float gamma, float eps, const CovarianceForwardPointers& p,
                          void* stream) {
  float *mean = p.moments, *low = p.moments + plan.columns, *variance = p.moments + 2ll * plan.columns;
  float *divisor = p.workspace, *shared = p.workspace + plan.shared_at;
  auto* squares = reinterpret_cast<double*>(p.workspace + plan.squares_at);
  const char* what = "the means";
  const Factor raw = centred_factor(p.z, plan.rows, plan.columns, plan.element, nullptr, nullptr, p.mask);
  cudaError_t error =
      column_statistics(raw, plan.statistics, mean, low, plan.gram ? variance : nullptr, divisor, shared, stream);
  if (error == cudaSuccess) {
    what = "the tiles of the covariance";
    const Side z{features(plan, p.z, p.moments, p.mask), !plan.gram};
    Outcome kept{};
    kept.result = p.kept;
    kept.divisor = divisor;
    kept.squares = squares;
    kept.symmetric = true;
    kept.with_diagonal = plan.gram;
    error = multiply(z, z, plan.forward, kept, true, shared, stream);
  }
  if (error == cudaSuccess) {
    what = "the penalties";
    const auto config = launch_configuration(1, penalty_threads, stream);
    error = cudaLaunchKernelEx(&config, &covariance_penalties, plan, gamma, eps, squares, p.kept, variance,
                               p.off_diagonal, p.hinge);
  }
  return launch_status(error, what, problem("covariance_forward", plan));
}

Status covariance_backward(const CovariancePlan& plan, float gamma, float eps, const CovarianceBackwardPointers& p,
                           void* stream) {
  float *scale = p.workspace, *slopes = p.workspace + plan.slopes_at;
  const char* what = "the slopes";
  const auto config = launch_configuration(divide_up(plan.columns, penalty_threads), penalty_threads, stream);
  cudaError_t error = cudaLaunchKernelEx(&config, &covariance_slopes, plan, gamma, eps, p.mask, p.d_off_diagonal,
                                         p.d_hinge, p.moments + 2ll * plan.columns, scale, slopes);
  if (error == cudaSuccess) {
    what = "the gradient";
    const Factor z = features(plan, p.z, p.moments, p.mask);
    const int side = plan.gram ? plan.rows : plan.columns;
    Factor kept = plain_factor(p.kept, side, side);
    kept.without_diagonal = !plan.gram;
    Outcome gradient{};
    gradient.result = p.dz;
    gradient.element = plan.element;
    gradient.scale = scale;
    gradient.column = slopes;
    gradient.centred = z;
    // Gram z, the Gram matrix being its own transpose; or z covariance.
    const Side left{plan.gram ? kept : z, plan.gram}, right{plan.gram ? z : kept, true};
    error = multiply(left, right, plan.backward, gradient, false, p.workspace + plan.product_at, stream);
  }
  return launch_status(error, what, problem("covariance_backward", plan));
}

}  // namespace spinecore::cuda
