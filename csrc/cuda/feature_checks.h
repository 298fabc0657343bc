// Checks of batches of features on a GPU, of the penalties' entries.
#pragma once

#include <initializer_list>
#include <string>

#include "device_checks.h"
#include "spinecore/feature_checks.h"

namespace spinecore::cuda {

// (B, D) of float32, bfloat16 or float16, without gaps, with sizes that fit the kernels' integers.
inline Status check_device_features(const char* op, const TensorView& view, int64_t rows, int64_t columns) {
  Status status = check_here(op, view);
  if (status.ok()) status = check_two_dimensions(op, view);
  if (!status.ok()) return status;
  TensorView matrix = as_if_on_cpu(view);
  if (is_float16(view)) matrix.dtype = DType::bfloat16;
  status = check_matrix(op, matrix, rows, columns);
  if (!status.ok()) return status;
  if (rows < 1 || rows >= int64_t{1} << 24 || columns >= int64_t{1} << 16) {
    return Status::wrong_value(argument(op, view) + "has B, D = " + std::to_string(rows) + ", " +
                               std::to_string(columns) + ", expected 1 to 2^24 rows and up to 2^16 columns");
  }
  return {};
}

// (B, N, D) of float32, bfloat16 or float16, without gaps.
inline Status check_tokens(const char* op, const TensorView& view, std::initializer_list<int64_t> shape) {
  Status status = check_here(op, view);
  TensorView same = as_if_on_cpu(view);
  if (is_float16(view) || view.dtype == DType::bfloat16) same.dtype = DType::float32;
  return status.ok() ? check_float32(op, same, shape) : status;
}

inline Status check_same_element(const char* op, const TensorView& view, const TensorView& model) {
  if (element_of(view) == element_of(model)) return {};
  return Status::wrong_type(argument(op, view) + "is not of the dtype of '" + model.name + "'");
}

// The same of another shape and the dtype of `model`.
inline Status check_as(const char* op, const TensorView& view, const TensorView& model,
                       std::initializer_list<int64_t> shape) {
  Status status = check_tokens(op, view, shape);
  return status.ok() ? check_same_element(op, view, model) : status;
}

}  // namespace spinecore::cuda
