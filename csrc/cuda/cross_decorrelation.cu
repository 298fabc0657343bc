// Penalties between two batches of features on a GPU. csrc/include/spinecore/cross_decorrelation.h has the formulas,
// product.cuh the tiles, row_norms.cuh the normalisation of the orthogonality penalty.
#include "spinecore/cuda/cross_decorrelation.h"

#include <string>

#include "feature_products.h"
#include "launches.h"
#include "penalty_sums.cuh"
#include "row_norms.cuh"

namespace spinecore::cuda {

// One block: the mean of the squares. Gram matrices may cancel to less than nothing.
__global__ void __launch_bounds__(penalty_threads)
    cross_penalty(const double* squares, int tiles, double size, float* penalty) {
  double sum = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < tiles; i += penalty_threads) sum += squares[i];
  sum = sum_block(sum);
  if (threadIdx.x == 0) *penalty = static_cast<float>((sum < 0.0 ? 0.0 : sum) / size);
}

// What the products of the backward are scaled with, and the weights of the rows of both batches.
__global__ void __launch_bounds__(penalty_threads)
    cross_factors(float factor, const float* grad, const float* norms, int count, float* scale, float* weights) {
  const int i = static_cast<int>(blockIdx.x * penalty_threads + threadIdx.x);
  if (i == 0) *scale = factor * *grad;
  if (i < count) weights[i] = 1.0f / (norms[i] + norm_eps);
}

namespace {

std::string problem(const char* op, const CrossPlan& p) {
  return std::string(op) + " for B, Da, Db = " + std::to_string(p.rows) + ", " + std::to_string(p.width_a) + ", " +
         std::to_string(p.width_b) + " (" + element_name(p.element) + (p.normalise ? ", rows normalised)" : ")");
}

// Where the statistics of a and b are kept.
template <class Float>
struct Statistics {
  Float *mean_a, *low_a, *mean_b, *low_b, *norms;  // norms of a, then of b
};

template <class Float>
Statistics<Float> statistics_of(const CrossPlan& p, Float* data) {
  return {data, data + p.width_a, data + 2ll * p.width_a, data + 2ll * p.width_a + p.width_b,
          data + 2ll * (p.width_a + p.width_b)};
}

// a and b centred, and with the weights of their rows where there are some.
struct Pair {
  Factor a, b;
};
Pair features(const CrossPlan& p, const void* a, const void* b, const float* statistics, const float* weights) {
  const auto s = statistics_of(p, statistics);
  return {centred_factor(a, p.rows, p.width_a, p.element, s.mean_a, s.low_a, weights),
          centred_factor(b, p.rows, p.width_b, p.element, s.mean_b, s.low_b,
                         weights == nullptr ? nullptr : weights + p.rows)};
}

cudaError_t launch_norms(const Factor& centred, float* norms, float* weights, void* stream) {
  const auto config = launch_configuration(divide_up(32ll * centred.rows, norm_threads), norm_threads, stream);
  return for_element(centred.element, [&](auto element) {
    return cudaLaunchKernelEx(&config, &norms_of_rows<decltype(element)>, centred, norms, weights);
  });
}

// `gradient` is that of the normalised rows, times their weight.
cudaError_t launch_normalisation(const Factor& centred, Factor gradient, const float* norms, const float* weights,
                                 float* along, void* result, void* stream) {
  return for_element(centred.element, [&](auto element) {
    using T = decltype(element);
    auto config = launch_configuration(divide_up(32ll * centred.rows, norm_threads), norm_threads, stream);
    cudaError_t error = cudaLaunchKernelEx(&config, &gradient_along_rows<T>, centred, gradient, norms, along);
    if (error != cudaSuccess) return error;
    gradient.weights = weights;
    config = launch_configuration(divide_up(centred.columns, statistics_columns), statistics_threads, stream);
    return cudaLaunchKernelEx(&config, &write_centred_gradient<T>, centred, gradient, along, static_cast<T*>(result),
                              fours(result, centred.columns, centred.element));
  });
}

}  // namespace

CrossPlan cross_plan(int rows, int width_a, int width_b, Element element, bool normalise) {
  CrossPlan p;
  p.rows = rows;
  p.width_a = width_a;
  p.width_b = width_b;
  p.element = element;
  p.normalise = normalise;
  p.gram = int64_t{rows} * (int64_t{width_a} + width_b) <= int64_t{width_a} * width_b;
  p.statistics_a = statistics_plan(rows, width_a, false);
  p.statistics_b = statistics_plan(rows, width_b, false);
  int tiles = 0;
  int64_t shared = std::max(p.statistics_a.workspace, p.statistics_b.workspace);
  if (p.gram) {
    p.of_a = product_plan(rows, rows, width_a, true);
    p.of_b = product_plan(rows, rows, width_b, true);
    tiles = p.of_b.tiles;
    shared = std::max(shared, std::max(p.of_a.workspace, p.of_b.workspace));
  } else {
    p.product = product_plan(width_a, width_b, rows, false);
    tiles = p.product.tiles;
    shared = std::max(shared, p.product.workspace);
  }
  p.to_a = product_plan(rows, width_a, p.gram ? rows : width_b, false);
  p.to_b = product_plan(rows, width_b, p.gram ? rows : width_a, false);
  const int64_t weights = normalise ? round_up(2ll * rows, 4) : 0;
  p.weights_at = 4;
  p.squares_at = p.weights_at + weights;
  p.shared_at = p.squares_at + round_up(2ll * tiles, 4);
  p.forward_workspace = p.shared_at + shared;
  p.along_at = p.weights_at + weights;
  p.gradient_at = p.along_at + (normalise ? round_up(rows, 4) : 0);
  p.product_at = p.gradient_at + (normalise ? round_up(int64_t{rows} * std::max(width_a, width_b), 4) : 0);
  p.backward_workspace = p.product_at + std::max(p.to_a.workspace, p.to_b.workspace);
  return p;
}

Status cross_forward(const CrossPlan& plan, const CrossForwardPointers& p, void* stream) {
  float *divisor = p.workspace, *weights = p.workspace + plan.weights_at, *shared = p.workspace + plan.shared_at;
  auto* squares = reinterpret_cast<double*>(p.workspace + plan.squares_at);
  const auto s = statistics_of(plan, p.statistics);
  const Pair centred = features(plan, p.a, p.b, p.statistics, nullptr);
  Factor raw_a = centred.a, raw_b = centred.b;
  raw_a.mean = raw_a.mean_low = raw_b.mean = raw_b.mean_low = nullptr;
  const char* what = "the means";
  cudaError_t error = column_statistics(raw_a, plan.statistics_a, s.mean_a, s.low_a, nullptr, divisor, shared, stream);
  if (error == cudaSuccess) {
    error = column_statistics(raw_b, plan.statistics_b, s.mean_b, s.low_b, nullptr, divisor, shared, stream);
  }
  if (error == cudaSuccess && plan.normalise) {
    what = "the norms";
    error = launch_norms(centred.a, s.norms, weights, stream);
    if (error == cudaSuccess) error = launch_norms(centred.b, s.norms + plan.rows, weights + plan.rows, stream);
  }
  Outcome kept{};
  kept.result = p.kept;
  kept.divisor = plan.normalise ? nullptr : divisor;
  kept.squares = squares;
  kept.with_diagonal = true;
  const Pair factors = features(plan, p.a, p.b, p.statistics, plan.normalise ? weights : nullptr);
  if (error == cudaSuccess) {
    what = "the tiles of the product";
    if (plan.gram) {
      kept.symmetric = true;
      const Side a{factors.a, false}, b{factors.b, false};
      error = multiply(a, a, plan.of_a, kept, true, shared, stream);
      kept.partner = p.kept;
      kept.result = p.kept + int64_t{plan.rows} * plan.rows;
      if (error == cudaSuccess) error = multiply(b, b, plan.of_b, kept, true, shared, stream);
    } else {
      error = multiply({factors.a, true}, {factors.b, true}, plan.product, kept, true, shared, stream);
    }
  }
  if (error == cudaSuccess) {
    what = "the penalty";
    const auto config = launch_configuration(1, penalty_threads, stream);
    error = cudaLaunchKernelEx(&config, &cross_penalty, squares, plan.gram ? plan.of_b.tiles : plan.product.tiles,
                               static_cast<double>(plan.width_a) * plan.width_b, p.penalty);
  }
  return launch_status(error, what, problem("cross_forward", plan));
}

Status cross_backward(const CrossPlan& plan, const CrossBackwardPointers& p, void* stream) {
  float *scale = p.workspace, *weights = p.workspace + plan.weights_at, *along = p.workspace + plan.along_at;
  float *gradient = p.workspace + plan.gradient_at, *shared = p.workspace + plan.product_at;
  const auto s = statistics_of(plan, p.statistics);
  const int count = plan.normalise ? 2 * plan.rows : 0;
  const double divisor = plan.normalise || plan.rows < 3 ? 1.0 : plan.rows - 1;
  const auto factor = static_cast<float>(2.0 / (static_cast<double>(plan.width_a) * plan.width_b * divisor));
  const char* what = "its factors";
  const auto config = launch_configuration(divide_up(std::max(count, 1), penalty_threads), penalty_threads, stream);
  cudaError_t error = cudaLaunchKernelEx(&config, &cross_factors, factor, p.grad, s.norms, count, scale, weights);
  const Pair centred = features(plan, p.a, p.b, p.statistics, nullptr);
  const Pair factors = features(plan, p.a, p.b, p.statistics, plan.normalise ? weights : nullptr);
  const Factor product = plain_factor(p.kept, plan.width_a, plan.width_b);
  for (const bool to_a : {true, false}) {
    if (error != cudaSuccess) break;
    what = to_a ? "the gradient of a" : "the gradient of b";
    const Factor& own = to_a ? factors.a : factors.b;
    Outcome outcome{};
    outcome.result = plan.normalise ? gradient : to_a ? p.da : p.db;
    outcome.element = plan.normalise ? Element::float32 : plan.element;
    outcome.scale = scale;
    // The other's Gram matrix, its own transpose, times a; or the other batch times the product, that of a transposed.
    const float* other = p.kept + (to_a ? int64_t{plan.rows} * plan.rows : 0);
    const Side left =
        plan.gram ? Side{plain_factor(other, plan.rows, plan.rows), true} : Side{to_a ? factors.b : factors.a, false};
    const Side right = plan.gram ? Side{own, true} : Side{product, !to_a};
    error = multiply(left, right, to_a ? plan.to_a : plan.to_b, outcome, false, shared, stream);
    if (error == cudaSuccess && plan.normalise) {
      const int from = to_a ? 0 : plan.rows, width = to_a ? plan.width_a : plan.width_b;
      error = launch_normalisation(to_a ? centred.a : centred.b, plain_factor(gradient, plan.rows, width),
                                   s.norms + from, weights + from, along, to_a ? p.da : p.db, stream);
    }
  }
  return launch_status(error, what, problem("cross_backward", plan));
}

}  // namespace spinecore::cuda
