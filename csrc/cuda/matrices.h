// Products of matrices on the tensor cores of a GPU that has them: bfloat16 and float16 as they are, float32 in tf32.
#pragma once

#include "feature_products.h"

namespace spinecore::cuda {

// Zeroes the tickets and multiplies two factors of the same type, without means; rows of weight zero count as zeros,
// whatever they hold, other weights are one. Both factors along the sum: the result, of plan.m rows and plan.n
// columns, is of floats. Or the right one alone, and the result is of the factors' type.
cudaError_t multiply_matrices(const Side& left, const Side& right, const ProductPlan& plan, void* result,
                              float* workspace, void* stream);

}  // namespace spinecore::cuda
