// Products of matrices on tensor cores.
#include "matrices.h"

#include "half_tokens.cuh"
#include "launches.h"

namespace spinecore::cuda {

template <class T, bool left_along, bool right_along, bool tensor, class Result>
__global__ void __launch_bounds__(product_threads, half_blocks)
    multiply_rows(Tokens left, Tokens right, ProductPlan plan, Result* result, bool vectors, bool eights,
                  float* workspace) {
  const int tile = static_cast<int>(blockIdx.x) / plan.splits, split = static_cast<int>(blockIdx.x) % plan.splits;
  const int2 place = place_of(plan, tile);
  const int row = place.x * product_tile, column = place.y * product_tile, depth = split * plan.split_depth;
  float sums[8][4] = {};
  multiply_alike<T, left_along, right_along, tensor>(left, right, row, column, depth,
                                                     min(depth + plan.split_depth, plan.k), eights, sums);
  if (!add_splits(plan, workspace, 1, 0, tile, split, sums)) return;
  write_tile(result, plan.m, plan.n, vectors, row, column, sums);
}

namespace {

template <class T>
cudaError_t run(const Side& left, const Side& right, const ProductPlan& plan, void* result, float* workspace,
                void* stream) {
  constexpr bool tensor = sizeof(T) == 4;
  const auto config = launch_configuration(int64_t{plan.tiles} * plan.splits, product_threads, stream);
  const bool eights =
      in_eights(left.factor.data, left.factor.columns) && in_eights(right.factor.data, right.factor.columns);
  const auto launch = [&](auto* kernel, auto* to) {
    const bool vectors = fours(to, plan.n, sizeof *to == 4 ? Element::float32 : right.factor.element);
    return cudaLaunchKernelEx(&config, kernel, Tokens{left.factor}, Tokens{right.factor}, plan, to, vectors, eights,
                              workspace);
  };
  if (left.along) return launch(&multiply_rows<T, true, true, tensor, float>, static_cast<float*>(result));
  return launch(&multiply_rows<T, false, true, tensor, T>, static_cast<T*>(result));
}

}  // namespace

cudaError_t multiply_matrices(const Side& left, const Side& right, const ProductPlan& plan, void* result,
                              float* workspace, void* stream) {
  if (plan.tickets > 0) {
    const auto tickets = sizeof(unsigned) * static_cast<size_t>(plan.tiles);
    const cudaError_t error = cudaMemsetAsync(workspace, 0, tickets, static_cast<cudaStream_t>(stream));
    if (error != cudaSuccess) return error;
  }
  return for_element(left.factor.element, [&](auto element) {
    return run<decltype(element)>(left, right, plan, result, workspace, stream);
  });
}

}  // namespace spinecore::cuda
