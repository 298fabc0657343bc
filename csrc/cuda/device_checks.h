// Checks of tensors that must lie on a GPU: those of tensor_view.h, for another place and one dtype more.
#pragma once

#include <string>

#include "spinecore/cuda/element.h"
#include "spinecore/entry_checks.h"

namespace spinecore::cuda {

// The tests run the same sources on the CPU, with tensors there.
#if defined(SPINECORE_CUDA_EMULATION)
inline bool is_here(const TensorView& view) { return view.on_cpu; }
#else
inline bool is_here(const TensorView& view) { return view.on_cuda; }
#endif

inline std::string argument(const char* op, const TensorView& view) {
  return std::string(op) + ": argument '" + view.name + "' ";
}

inline Status check_here(const char* op, const TensorView& view) {
  if (!is_here(view)) {
    return Status::wrong_value(argument(op, view) + "is not on a CUDA device: move it with .to('cuda')");
  }
  if (view.data == nullptr && view.numel() > 0) {
    return Status::wrong_value(argument(op, view) +
                               "has no memory behind it (a FakeTensor or a meta tensor?): call "
                               "the operator torch.ops.spinecore instead of the binding");
  }
  return {};
}

// As if on the CPU, so that shapes, strides and dtypes are checked by the same code as there.
inline TensorView as_if_on_cpu(TensorView view) {
  view.on_cpu = true;
  return view;
}

inline Status check_device_floats(const char* op, const TensorView& view, std::initializer_list<int64_t> shape) {
  Status status = check_here(op, view);
  return status.ok() ? check_float32(op, as_if_on_cpu(view), shape) : status;
}

// An absent bias is an empty tensor.
inline Status check_device_bias(const char* op, const TensorView& view, int64_t size) {
  return view.numel() == 0 ? Status{} : check_device_floats(op, view, {size});
}
inline const float* bias_pointer(const TensorView& view) { return view.numel() == 0 ? nullptr : view.floats(); }

inline bool is_float16(const TensorView& view) {
  return view.dtype == DType::other && view.dtype_name == "torch.float16";
}

inline Element element_of(const TensorView& view) {
  return is_float16(view) ? Element::float16 : view.dtype == DType::bfloat16 ? Element::bfloat16 : Element::float32;
}

// float32, bfloat16 or float16, four dimensions, NCHW or channels-last.
inline Status check_device_image(const char* op, const TensorView& view) {
  Status status = check_here(op, view);
  if (!status.ok()) return status;
  TensorView image = as_if_on_cpu(view);
  if (is_float16(view)) image.dtype = DType::bfloat16;  // as many bytes
  return check_image(op, image);
}

inline Status check_same_image(const char* op, const TensorView& view, const TensorView& model) {
  Status status = check_like(op, view, model);
  if (status.ok() && element_of(view) != element_of(model)) {
    status = Status::wrong_type(argument(op, view) + "is not of the dtype of '" + model.name + "'");
  }
  return status;
}

// Memory that is read and written four floats at a time.
inline Status check_fours(const char* op, const TensorView& view) {
  if (reinterpret_cast<uintptr_t>(view.data) % 16 == 0) return {};
  return Status::wrong_value(argument(op, view) + "is not aligned to 16 bytes: allocate it");
}

inline Status check_device_workspace(const char* op, const TensorView& workspace, int64_t needed) {
  Status status = check_here(op, workspace);
  if (status.ok()) status = check_workspace(op, as_if_on_cpu(workspace), needed);
  return status.ok() ? check_fours(op, workspace) : status;
}

}  // namespace spinecore::cuda
