// The element types of tensors on a GPU.
#pragma once

namespace spinecore::cuda {

enum class Element : int { float32, bfloat16, float16 };

constexpr const char* element_name(Element element) {
  return element == Element::float32 ? "float32" : element == Element::bfloat16 ? "bfloat16" : "float16";
}

}  // namespace spinecore::cuda
