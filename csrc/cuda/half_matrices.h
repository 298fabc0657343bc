// Products of matrices of bfloat16 or float16 on a GPU, on its tensor cores where it multiplies them as they are.
#pragma once

#include "feature_products.h"

namespace spinecore::cuda {

// Zeroes the tickets and multiplies two factors of the same halves, without means; rows of weight zero count as zeros,
// whatever they hold, other weights are one. Both factors along the sum or both across it; the result, of plan.m rows
// and plan.n columns, is of floats. Or the right one alone is along it, and the result is of the factors' type.
cudaError_t multiply_matrices(const Side& left, const Side& right, const ProductPlan& plan, void* result,
                              float* workspace, void* stream);

}  // namespace spinecore::cuda
