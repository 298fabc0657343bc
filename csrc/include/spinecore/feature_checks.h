// Checks that the entries of the feature operators share.
#pragma once

#include <string>

#include "spinecore/entry_checks.h"

namespace spinecore {

// A matrix of features: float32 or bfloat16, contiguous.
inline Status check_matrix(const char* op, const TensorView& view, int64_t rows, int64_t columns) {
  TensorView same = view;
  if (view.dtype == DType::bfloat16) same.dtype = DType::float32;
  return check_float32(op, same, {rows, columns});
}

inline Status check_two_dimensions(const char* op, const TensorView& view) {
  if (view.dims == 2 && view.shape[1] >= 1) return {};
  return Status::wrong_value(std::string(op) + ": argument '" + view.name + "' has " + std::to_string(view.dims) +
                             " dimensions, expected two: (B, D) with D >= 1");
}

}  // namespace spinecore
