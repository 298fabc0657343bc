// A tensor that belongs to somebody else: where it lies, what it holds and how it is laid out.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "spinecore/status.h"

namespace spinecore {

enum class DType : int { float32, bfloat16, other };

struct TensorView {
  static constexpr int max_dims = 8;

  const char* name = "";  // the argument, for messages
  void* data = nullptr;
  DType dtype = DType::other;
  std::string dtype_name;  // what an `other` dtype is, for messages
  int other_bytes = 4;     // of one element of it
  bool on_cpu = false;
  bool on_cuda = false;
  int dims = 0;
  int64_t shape[max_dims] = {};
  int64_t strides[max_dims] = {};  // in elements

  int64_t numel() const {
    int64_t count = 1;
    for (int i = 0; i < dims; ++i) count *= shape[i];
    return count;
  }
  int64_t bytes() const { return numel() * (dtype == DType::bfloat16 ? 2 : 4); }
  float* floats() const { return static_cast<float*>(data); }
};

// How the elements of a (N, C, H, W) tensor follow one another. Both can hold at once (C = 1, or one pixel).
struct ImageLayout {
  bool contiguous = false;
  bool channels_last = false;
};

ImageLayout image_layout(const TensorView& view);

// Whether two dense tensors of the same shape, strides and dtype hold the same bytes.
bool same_bytes(const TensorView& a, const TensorView& b);

// Checks of one argument of the operator `op`. The first complaint is the one that is answered.
// A parameter or a result of the operator: float32, on the CPU, contiguous, of exactly this shape.
Status check_float32(const char* op, const TensorView& view, std::initializer_list<int64_t> shape);
// An image: float32 or bfloat16, on the CPU, four dimensions, contiguous or channels-last.
Status check_image(const char* op, const TensorView& view);
// The same, channels-last only.
Status check_channels_last(const char* op, const TensorView& view);
// The same, or a slice of the channels of such an image; `step` gets the elements from one pixel to the next.
Status check_channels_slice(const char* op, const TensorView& view, int64_t* step);
// An image of exactly this shape and of the dtype of `model`.
Status check_image_shape(const char* op, const TensorView& view, const TensorView& model,
                         std::initializer_list<int64_t> shape);
// A tensor that must look like another one: dtype and shape.
Status check_like(const char* op, const TensorView& view, const TensorView& model);
// A written tensor must not share memory with another argument.
Status check_apart(const char* op, const TensorView& written, const TensorView& other);

}  // namespace spinecore
