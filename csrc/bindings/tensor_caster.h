// torch tensors as views, without torch.
#pragma once

#include <pybind11/pybind11.h>

#include "spinecore/tensor_view.h"

namespace spinecore {

// False where `object` is no tensor; an error of Python's is thrown.
bool view_tensor(pybind11::handle object, TensorView& view);

}  // namespace spinecore

namespace pybind11::detail {

template <>
struct type_caster<spinecore::TensorView> {
  PYBIND11_TYPE_CASTER(spinecore::TensorView, const_name("torch.Tensor"));

  bool load(handle object, bool /*convert*/) { return spinecore::view_tensor(object, value); }
};

}  // namespace pybind11::detail
