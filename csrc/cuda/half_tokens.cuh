// Tokens as a factor of a product of halves.
#pragma once

#include "half_product.cuh"

namespace spinecore::cuda {

// A matrix whose rows of weight zero count as zeros, whatever they hold; other weights are one.
struct Tokens : Factor {};

__device__ __forceinline__ bool counts(const Tokens& t, int row) {
  return row < t.rows && (t.weights == nullptr || t.weights[row] != 0.0f);
}
template <class T>
__device__ __forceinline__ const T* eight_at(const Tokens& t, int row, int column) {
  return counts(t, row) ? eight_at<T>(static_cast<const Factor&>(t), row, column) : nullptr;
}
template <class T>
__device__ __forceinline__ void gather_eight(const Tokens& t, int row, int column, T (&out)[8]) {
  gather_eight<T>(static_cast<const Factor&>(t), counts(t, row) ? row : t.rows, column, out);
}

}  // namespace spinecore::cuda
