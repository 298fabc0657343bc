// The 1x1 convolution.
#include "spinecore/conv1x1.h"

#include <algorithm>

#include "bindings.h"

namespace py = pybind11;

namespace spinecore {
namespace {

int64_t workspace(int64_t in, int64_t out) {
  if (std::min(in, out) < 0) throw py::value_error("conv1x1_workspace: sizes must not be negative");
  return conv1x1_workspace(in, out);
}

int64_t backward_workspace(int64_t pixels, int64_t in, int64_t out) {
  if (std::min({pixels, in, out}) < 0) {
    throw py::value_error("conv1x1_backward_workspace: sizes must not be negative");
  }
  return conv1x1_backward_workspace(pixels, in, out);
}

void forward(View x, View w, View bias, View y, View workspace) {
  const Conv1x1Views views{named(x, "x"), named(w, "w"), named(bias, "bias"), named(y, "y"),
                           named(workspace, "workspace")};
  call(conv1x1_forward, views);
}

void backward(View x, View dy, View w, View dx, View dw, View d_bias, View workspace) {
  const Conv1x1BackwardViews views{named(x, "x"),
                                   named(dy, "dy"),
                                   named(w, "w"),
                                   named(dx, "dx"),
                                   named(dw, "dw"),
                                   named(d_bias, "d_bias"),
                                   named(workspace, "workspace")};
  call(conv1x1_backward, views);
}

}  // namespace

void bind_conv1x1(py::module_& module) {
  module.def("conv1x1_workspace", &workspace, py::arg("in_channels"), py::arg("out_channels"));
  module.def("conv1x1_forward", &forward, py::arg("x"), py::arg("w"), py::arg("bias"), py::arg("y"),
             py::arg("workspace"));
  module.def("conv1x1_backward_workspace", &backward_workspace, py::arg("pixels"), py::arg("in_channels"),
             py::arg("out_channels"));
  module.def("conv1x1_backward", &backward, py::arg("x"), py::arg("dy"), py::arg("w"), py::arg("dx"), py::arg("dw"),
             py::arg("d_bias"), py::arg("workspace"));
}

}  // namespace spinecore
