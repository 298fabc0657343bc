#include "spinecore/tensor_view.h"

#include <cstring>

namespace spinecore {
namespace {

std::string shape_text(const int64_t* sizes, int dims) {
  std::string text = "(";
  for (int i = 0; i < dims; ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + (dims == 1 ? ",)" : ")");
}

std::string about(const char* op, const TensorView& view) {
  return std::string(op) + ": argument '" + view.name + "' ";
}

std::string dtype_text(const TensorView& view) {
  switch (view.dtype) {
    case DType::float32:
      return "float32";
    case DType::bfloat16:
      return "bfloat16";
    case DType::other:
      break;
  }
  return view.dtype_name;
}

// Sizes of one dimension may have any stride: there is nothing to step over.
bool has_strides(const TensorView& view, const int* order) {
  int64_t expected = 1;
  for (int i = 0; i < view.dims; ++i) {
    const int dim = order[i];
    if (view.shape[dim] != 1 && view.strides[dim] != expected) return false;
    expected *= view.shape[dim];
  }
  return true;
}

bool is_contiguous(const TensorView& view) {
  int order[TensorView::max_dims];
  for (int i = 0; i < view.dims; ++i) order[i] = view.dims - 1 - i;
  return view.numel() == 0 || has_strides(view, order);
}

int element_bytes(const TensorView& view) {
  return view.dtype == DType::other ? view.other_bytes : view.dtype == DType::bfloat16 ? 2 : 4;
}

// Bytes from the first element to the end of the last, gaps included.
uintptr_t span(const TensorView& view) {
  if (view.numel() == 0) return 0;
  int64_t last = 0;
  for (int i = 0; i < view.dims; ++i) last += (view.shape[i] - 1) * view.strides[i];
  return static_cast<uintptr_t>((last + 1) * element_bytes(view));
}

Status check_memory(const char* op, const TensorView& view) {
  if (!view.on_cpu) {
    return Status::wrong_value(about(op, view) + "is not on the CPU: this kernel needs it there, move it with .cpu()");
  }
  if (view.data == nullptr && view.numel() > 0) {
    return Status::wrong_value(about(op, view) + "of shape " + shape_text(view.shape, view.dims) +
                               " has no memory behind it (a FakeTensor or a meta tensor?): call the operator "
                               "torch.ops.spinecore instead of the binding");
  }
  return {};
}

}  // namespace

ImageLayout image_layout(const TensorView& view) {
  if (view.dims != 4) return {};
  if (view.numel() == 0) return {true, true};
  const int nchw[] = {3, 2, 1, 0}, nhwc[] = {1, 3, 2, 0};
  return {has_strides(view, nchw), has_strides(view, nhwc)};
}

bool same_bytes(const TensorView& a, const TensorView& b) {
  if (a.dims != b.dims || a.dtype != b.dtype || a.dtype == DType::other || !a.on_cpu || !b.on_cpu) return false;
  for (int i = 0; i < a.dims; ++i) {
    if (a.shape[i] != b.shape[i] || (a.shape[i] != 1 && a.strides[i] != b.strides[i])) return false;
  }
  const ImageLayout layout = image_layout(a);
  if (!layout.contiguous && !layout.channels_last) return false;
  return a.numel() == 0 || std::memcmp(a.data, b.data, static_cast<size_t>(a.bytes())) == 0;
}

Status check_float32(const char* op, const TensorView& view, std::initializer_list<int64_t> shape) {
  if (view.dtype != DType::float32) {
    return Status::wrong_type(about(op, view) + "is " + dtype_text(view) +
                              ", expected float32: convert it with .to(torch.float32)");
  }
  bool same = view.dims == static_cast<int>(shape.size());
  for (int i = 0; same && i < view.dims; ++i) same = view.shape[i] == shape.begin()[i];
  if (!same) {
    return Status::wrong_value(about(op, view) + "has shape " + shape_text(view.shape, view.dims) + ", expected " +
                               shape_text(shape.begin(), static_cast<int>(shape.size())));
  }
  Status status = check_memory(op, view);
  if (!status.ok()) return status;
  if (!is_contiguous(view)) {
    return Status::wrong_value(about(op, view) + "has strides " + shape_text(view.strides, view.dims) + " for shape " +
                               shape_text(view.shape, view.dims) + ": make it contiguous with .contiguous()");
  }
  return {};
}

namespace {

Status check_image_memory(const char* op, const TensorView& view) {
  if (view.dtype == DType::other) {
    return Status::wrong_type(about(op, view) + "is " + dtype_text(view) +
                              ", expected float32 or bfloat16: convert it with .to(torch.float32)");
  }
  if (view.dims != 4) {
    return Status::wrong_value(about(op, view) + "has shape " + shape_text(view.shape, view.dims) +
                               ", expected four dimensions (N, C, H, W)");
  }
  return check_memory(op, view);
}

}  // namespace

Status check_image(const char* op, const TensorView& view) {
  Status status = check_image_memory(op, view);
  if (!status.ok()) return status;
  const ImageLayout layout = image_layout(view);
  if (!layout.contiguous && !layout.channels_last) {
    return Status::wrong_value(about(op, view) + "has strides " + shape_text(view.strides, view.dims) + " for shape " +
                               shape_text(view.shape, view.dims) +
                               ": make it contiguous, as NCHW or as channels-last, with .contiguous()");
  }
  return {};
}

Status check_channels_last(const char* op, const TensorView& view) {
  Status status = check_image(op, view);
  if (!status.ok() || image_layout(view).channels_last) return status;
  return Status::wrong_value(about(op, view) +
                             "is NCHW: make it channels-last with "
                             ".contiguous(memory_format=torch.channels_last)");
}

Status check_channels_slice(const char* op, const TensorView& view, int64_t* step) {
  Status status = check_image_memory(op, view);
  if (!status.ok()) return status;
  const int64_t n = view.shape[0], c = view.shape[1], h = view.shape[2], w = view.shape[3];
  *step = w > 1 ? view.strides[3] : h > 1 ? view.strides[2] : n > 1 ? view.strides[0] : c;
  if (view.numel() == 0 || (*step >= c && (c == 1 || view.strides[1] == 1) &&
                            (h == 1 || view.strides[2] == w * *step) && (n == 1 || view.strides[0] == h * w * *step))) {
    return {};
  }
  return Status::wrong_value(about(op, view) + "has strides " + shape_text(view.strides, view.dims) + " for shape " +
                             shape_text(view.shape, view.dims) +
                             ": it is neither channels-last nor a slice of the channels of such an image");
}

Status check_image_shape(const char* op, const TensorView& view, const TensorView& model,
                         std::initializer_list<int64_t> shape) {
  TensorView expected = model;
  for (int i = 0; i < expected.dims; ++i) expected.shape[i] = shape.begin()[i];
  return check_like(op, view, expected);
}

Status check_like(const char* op, const TensorView& view, const TensorView& model) {
  bool same = view.dims == model.dims;
  for (int i = 0; same && i < view.dims; ++i) same = view.shape[i] == model.shape[i];
  if (!same) {
    return Status::wrong_value(about(op, view) + "has shape " + shape_text(view.shape, view.dims) + ", expected " +
                               shape_text(model.shape, model.dims) + " like '" + model.name + "'");
  }
  if (view.dtype != model.dtype) {
    return Status::wrong_type(about(op, view) + "is " + dtype_text(view) + ", expected " + dtype_text(model) +
                              " like '" + model.name + "'");
  }
  return {};
}

Status check_apart(const char* op, const TensorView& written, const TensorView& other) {
  const auto begin = reinterpret_cast<uintptr_t>(written.data), other_begin = reinterpret_cast<uintptr_t>(other.data);
  if (begin < other_begin + span(other) && other_begin < begin + span(written)) {
    return Status::wrong_value(about(op, written) + "is written and shares memory with '" + other.name +
                               "': give it memory of its own");
  }
  return {};
}

}  // namespace spinecore
