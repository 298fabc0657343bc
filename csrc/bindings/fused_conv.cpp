// Convolution and pooling for inference, and the fingerprint of the weights they were prepared from.
#include "spinecore/fused_conv.h"

#include <pybind11/stl.h>

#include "program.h"
#include "spinecore/fingerprint.h"
#include "spinecore/pool2x2.h"

namespace py = pybind11;

namespace spinecore {
namespace fused_conv_bindings {

using Views = std::vector<TensorView>;

int64_t weights_size(int64_t depth, int64_t out) {
  if (depth < 0 || out < 0) throw py::value_error("fused_conv_weights_size: sizes must not be negative");
  return fused_conv_weights_size(depth, out);
}

void pack(View w, View to) { call(fused_conv_pack, named(w, "w"), named(to, "to")); }

Step forward(Views inputs, View weights, View bias, Views addends, View gate, int64_t kernel, int64_t stride,
             int64_t dilation, int64_t activation, View y) {
  for (TensorView& view : inputs) view.name = "inputs";
  for (TensorView& view : addends) view.name = "addends";
  FusedConvViews views{std::move(inputs),   std::move(addends),  named(weights, "weights"),
                       named(bias, "bias"), named(gate, "gate"), named(y, "y")};
  return [views = std::move(views), kernel, stride, dilation, activation](bool* /*finite*/) {
    return fused_conv_forward(views, kernel, stride, dilation, activation);
  };
}

Step pool(View x, int64_t pooling, View y) {
  return [x = named(x, "x"), pooling, y = named(y, "y")](bool* /*finite*/) { return pool2x2(x, pooling, y); };
}

uint64_t fingerprint_of(const Views& tensors, bool sampled) {
  uint64_t result = 0;
  call(fingerprint, tensors, sampled, &result);
  return result;
}

}  // namespace fused_conv_bindings

void bind_fused_conv(py::module_& module) {
  using namespace fused_conv_bindings;
  module.def("fused_conv_weights_size", &weights_size, py::arg("depth"), py::arg("out_channels"));
  module.def("fused_conv_pack", &pack, py::arg("w"), py::arg("to"));
  define_step(module, "fused_conv_forward", &forward, py::arg("inputs"), py::arg("weights"), py::arg("bias"),
              py::arg("addends"), py::arg("gate"), py::arg("kernel"), py::arg("stride"), py::arg("dilation"),
              py::arg("activation"), py::arg("y"));
  define_step(module, "pool2x2", &pool, py::arg("x"), py::arg("pooling"), py::arg("y"));
  module.def("fingerprint", &fingerprint_of, py::arg("tensors"), py::arg("sampled") = false);
}

}  // namespace spinecore
