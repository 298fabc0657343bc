// The operators made of 3x3 convolutions.
#include "bindings.h"
#include "spinecore/conv3x3.h"
#include "spinecore/winograd.h"

namespace py = pybind11;

namespace spinecore {
namespace {

int64_t weights_size(int64_t in, int64_t out) {
  if (in < 0 || out < 0) throw py::value_error("winograd_weights_size: sizes must not be negative");
  return winograd_weights_size(in, out);
}

void transform(View w, bool transposed, View to) {
  call(winograd_transform, named(w, "w"), transposed, named(to, "to"));
}

bool forward(View x, View weights, View bias, View residual, bool relu, View y) {
  const Conv3x3Views views{named(x, "x"), named(weights, "weights"), named(bias, "bias"), named(residual, "residual"),
                           named(y, "y")};
  bool finite = true;
  call(conv3x3_forward, views, relu, &finite);
  return finite;
}

}  // namespace

void bind_convolution(py::module_& module) {
  module.def("winograd_weights_size", &weights_size, py::arg("in_channels"), py::arg("out_channels"));
  module.def("winograd_transform", &transform, py::arg("w"), py::arg("transposed"), py::arg("to"));
  module.def("conv3x3_forward", &forward, py::arg("x"), py::arg("weights"), py::arg("bias"), py::arg("residual"),
             py::arg("relu"), py::arg("y"));
}

}  // namespace spinecore
