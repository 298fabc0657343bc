// What the bindings of the operators share. Each operator has a file of its own that adds it to the module.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>

#include "spinecore/status.h"
#include "tensor_caster.h"

namespace spinecore {

// First: the others add to what it defines.
void bind_program(pybind11::module_& module);
void bind_convolution(pybind11::module_& module);
void bind_conv1x1(pybind11::module_& module);
void bind_fused_conv(pybind11::module_& module);
void bind_layout(pybind11::module_& module);
void bind_recurrent_residual_conv_bn(pybind11::module_& module);
void bind_scse_gate(pybind11::module_& module);
void bind_latent_pools(pybind11::module_& module);
void bind_covariance_decorrelation(pybind11::module_& module);
void bind_cross_decorrelation(pybind11::module_& module);
void bind_machine_peak(pybind11::module_& module);
// In builds with CUDA.
void bind_cuda_scse_gate(pybind11::module_& module);
void bind_cuda_covariance_decorrelation(pybind11::module_& module);
void bind_cuda_cross_decorrelation(pybind11::module_& module);
void bind_cuda_latent_pool(pybind11::module_& module);
void bind_cuda_dictionary_pool(pybind11::module_& module);
void bind_cuda_conv3x3(pybind11::module_& module);
void bind_cuda_recurrent_residual_conv(pybind11::module_& module);

inline void raise_unless_ok(const Status& status) {
  switch (status.code) {
    case StatusCode::ok:
      return;
    case StatusCode::wrong_type:
      throw pybind11::type_error(status.message);
    case StatusCode::wrong_value:
      throw pybind11::value_error(status.message);
    case StatusCode::internal:
      throw std::runtime_error(status.message);
  }
}

inline TensorView named(TensorView view, const char* name) {
  view.name = name;
  return view;
}

// Runs a checked entry of the core without the GIL: views hold pointers only, and the caller holds the tensors.
template <class Entry, class... Arguments>
void call(Entry entry, const Arguments&... arguments) {
  Status status;
  {
    pybind11::gil_scoped_release unlocked;
    status = entry(arguments...);
  }
  raise_unless_ok(status);
}

using View = const TensorView&;

}  // namespace spinecore
