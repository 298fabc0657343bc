// Convolution for inference, and the fingerprint of the weights it was prepared from.
#include "spinecore/fused_conv.h"

#include <pybind11/stl.h>

#include "bindings.h"
#include "spinecore/fingerprint.h"

namespace py = pybind11;

namespace spinecore {
namespace {

using Views = std::vector<TensorView>;

int64_t weights_size(int64_t depth, int64_t out) {
  if (depth < 0 || out < 0) throw py::value_error("fused_conv_weights_size: sizes must not be negative");
  return fused_conv_weights_size(depth, out);
}

void pack(View w, View to) { call(fused_conv_pack, named(w, "w"), named(to, "to")); }

void forward(Views inputs, View weights, View bias, Views addends, View gate, int64_t kernel, int64_t stride,
             int64_t dilation, int64_t activation, View y) {
  for (TensorView& view : inputs) view.name = "inputs";
  for (TensorView& view : addends) view.name = "addends";
  const FusedConvViews views{std::move(inputs),   std::move(addends),  named(weights, "weights"),
                             named(bias, "bias"), named(gate, "gate"), named(y, "y")};
  call(fused_conv_forward, views, kernel, stride, dilation, activation);
}

uint64_t fingerprint_of(const Views& tensors, bool sampled) {
  uint64_t result = 0;
  call(fingerprint, tensors, sampled, &result);
  return result;
}

}  // namespace

void bind_fused_conv(py::module_& module) {
  module.def("fused_conv_weights_size", &weights_size, py::arg("depth"), py::arg("out_channels"));
  module.def("fused_conv_pack", &pack, py::arg("w"), py::arg("to"));
  module.def("fused_conv_forward", &forward, py::arg("inputs"), py::arg("weights"), py::arg("bias"), py::arg("addends"),
             py::arg("gate"), py::arg("kernel"), py::arg("stride"), py::arg("dilation"), py::arg("activation"),
             py::arg("y"));
  module.def("fingerprint", &fingerprint_of, py::arg("tensors"), py::arg("sampled") = false);
}

}  // namespace spinecore
