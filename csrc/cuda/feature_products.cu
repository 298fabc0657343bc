// Launches of products of features and of the statistics of their columns.
#include "feature_products.h"

#include "column_statistics.cuh"
#include "launches.h"
#include "product.cuh"

namespace spinecore::cuda {
namespace {

template <class L, bool left_along, class R, bool right_along, class T, bool keep>
cudaError_t run(const Side& left, const Side& right, const ProductPlan& plan, const Outcome& outcome, float* workspace,
                void* stream) {
  const auto config = launch_configuration(int64_t{plan.tiles} * plan.splits, product_threads, stream);
  return cudaLaunchKernelEx(&config, &multiply_factors<L, left_along, R, right_along, T, keep>, left.factor,
                            right.factor, plan, outcome, workspace);
}

// The combinations that the penalties use: a product of features with themselves or with other features, both along or
// both across; and a kept product, which is of floats, with features.
template <class T>
cudaError_t run_any(const Side& left, const Side& right, const ProductPlan& plan, const Outcome& outcome, bool keep,
                    float* workspace, void* stream) {
  if (keep) {
    return left.along ? run<T, true, T, true, T, true>(left, right, plan, outcome, workspace, stream)
                      : run<T, false, T, false, T, true>(left, right, plan, outcome, workspace, stream);
  }
  if (left.along) return run<float, true, T, true, T, false>(left, right, plan, outcome, workspace, stream);
  return right.along ? run<T, false, float, true, T, false>(left, right, plan, outcome, workspace, stream)
                     : run<T, false, float, false, T, false>(left, right, plan, outcome, workspace, stream);
}

// run_it(a value of the kernels' type for these features).
template <class Run>
cudaError_t for_features(Element element, const Run& run_it) {
  return element == Element::float32 ? run_it(float{}) : run_it(Half{});
}

}  // namespace

bool fours(const void* data, int columns, Element element) {
  return columns % 4 == 0 && reinterpret_cast<uintptr_t>(data) % (element == Element::float32 ? 16 : 8) == 0;
}

Factor plain_factor(const float* data, int rows, int columns) {
  return centred_factor(data, rows, columns, Element::float32, nullptr, nullptr, nullptr);
}

Factor centred_factor(const void* data, int rows, int columns, Element element, const float* mean,
                      const float* mean_low, const float* weights) {
  const bool vectors = fours(data, columns, element) && fours(mean, columns, Element::float32) &&
                       fours(mean_low, columns, Element::float32);
  return {data, rows, columns, element, mean, mean_low, weights, vectors, false, false};
}

cudaError_t multiply(const Side& left, const Side& right, const ProductPlan& plan, const Outcome& outcome, bool keep,
                     float* workspace, void* stream) {
  if (plan.tickets > 0) {
    const auto tickets = sizeof(unsigned) * static_cast<size_t>(plan.tiles);
    const cudaError_t error = cudaMemsetAsync(workspace, 0, tickets, static_cast<cudaStream_t>(stream));
    if (error != cudaSuccess) return error;
  }
  Outcome writes = outcome;
  writes.vectors = fours(outcome.result, plan.n, outcome.element) && (!outcome.symmetric || plan.m % 4 == 0);
  const Element features = left.along && !keep ? right.factor.element : left.factor.element;
  return for_features(features, [&](auto element) {
    return run_any<decltype(element)>(left, right, plan, writes, keep, workspace, stream);
  });
}

cudaError_t column_statistics(const Factor& factor, const StatisticsPlan& plan, float* mean, float* mean_low,
                              float* variance, float* divisor, float* workspace, void* stream) {
  const auto tickets = sizeof(unsigned) * static_cast<size_t>(plan.strips);
  const cudaError_t error = cudaMemsetAsync(workspace, 0, tickets, static_cast<cudaStream_t>(stream));
  if (error != cudaSuccess) return error;
  const auto config = launch_configuration(int64_t{plan.strips} * plan.chunks, statistics_threads, stream);
  return for_features(factor.element, [&](auto element) {
    return cudaLaunchKernelEx(&config, &sum_columns_of_features<decltype(element)>, factor, plan, mean, mean_low,
                              variance, divisor, workspace);
  });
}

}  // namespace spinecore::cuda
