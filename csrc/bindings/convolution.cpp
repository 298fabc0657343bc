// The operators made of 3x3 convolutions.
#include <algorithm>

#include "program.h"
#include "spinecore/conv3x3.h"
#include "spinecore/recurrent_residual_conv.h"
#include "spinecore/tensor_view.h"
#include "spinecore/winograd.h"

namespace py = pybind11;

namespace spinecore {
namespace convolution_bindings {

int64_t weights_size(int64_t in, int64_t out) {
  if (in < 0 || out < 0) throw py::value_error("winograd_weights_size: sizes must not be negative");
  return winograd_weights_size(in, out);
}

Step transform(View w, bool transposed, View to) {
  return [w = named(w, "w"), transposed, to = named(to, "to")](bool* /*finite*/) {
    return winograd_transform(w, transposed, to);
  };
}

bool equal_bytes(View a, View b) { return same_bytes(a, b); }

Step forward(View x, View weights, View bias, View residual, bool relu, View y) {
  const Conv3x3Views views{named(x, "x"), named(weights, "weights"), named(bias, "bias"), named(residual, "residual"),
                           named(y, "y")};
  return [views, relu](bool* finite) { return conv3x3_forward(views, relu, finite); };
}

int64_t recurrent_workspace(int64_t n, int64_t c, int64_t h, int64_t w, int64_t steps, int64_t threads) {
  if (std::min({n, c, h, w, steps, threads}) < 0) {
    throw py::value_error("recurrent_residual_conv_workspace: sizes must not be negative");
  }
  return recurrent_forward_workspace(n, c, h, w, steps, threads);
}

Step recurrent_forward(View x, View w_in, View w_rec, View scale, View shift, int64_t steps, bool residual, View y,
                       View workspace) {
  const RecurrentForwardViews views{
      named(x, "x"),         named(w_in, "w_in"), named(w_rec, "w_rec"),        named(scale, "scale"),
      named(shift, "shift"), named(y, "y"),       named(workspace, "workspace")};
  return [views, steps, residual](bool* finite) {
    return recurrent_residual_conv_forward(views, steps, residual, finite);
  };
}

Step backward(View x, View dy, View y, View weights, View dx, View d_residual, View dw, View d_bias, View workspace) {
  const Conv3x3BackwardViews views{named(x, "x"),
                                   named(dy, "dy"),
                                   named(y, "y"),
                                   named(weights, "weights"),
                                   named(dx, "dx"),
                                   named(d_residual, "d_residual"),
                                   named(dw, "dw"),
                                   named(d_bias, "d_bias"),
                                   named(workspace, "workspace")};
  return [views](bool* finite) { return conv3x3_backward(views, finite); };
}

int64_t backward_workspace(int64_t n, int64_t in, int64_t height, int64_t width, int64_t out) {
  if (n < 0 || in < 0 || height < 0 || width < 0 || out < 0) {
    throw py::value_error("conv3x3_backward_workspace: sizes must not be negative");
  }
  return conv3x3_backward_workspace(n, height, width, in, out);
}

}  // namespace convolution_bindings

void bind_convolution(py::module_& module) {
  using namespace convolution_bindings;
  module.def("winograd_weights_size", &weights_size, py::arg("in_channels"), py::arg("out_channels"));
  define_step(module, "winograd_transform", &transform, py::arg("w"), py::arg("transposed"), py::arg("to"));
  module.def("same_bytes", &equal_bytes, py::arg("a"), py::arg("b"));
  define_step(module, "conv3x3_forward", &forward, py::arg("x"), py::arg("weights"), py::arg("bias"),
              py::arg("residual"), py::arg("relu"), py::arg("y"));
  module.def("recurrent_residual_conv_workspace", &recurrent_workspace, py::arg("n"), py::arg("c"), py::arg("h"),
             py::arg("w"), py::arg("steps"), py::arg("threads"));
  define_step(module, "recurrent_residual_conv_forward", &recurrent_forward, py::arg("x"), py::arg("w_in"),
              py::arg("w_rec"), py::arg("scale"), py::arg("shift"), py::arg("steps"), py::arg("residual"), py::arg("y"),
              py::arg("workspace"));
  define_step(module, "conv3x3_backward", &backward, py::arg("x"), py::arg("dy"), py::arg("y"), py::arg("weights"),
              py::arg("dx"), py::arg("d_residual"), py::arg("dw"), py::arg("d_bias"), py::arg("workspace"));
  module.def("conv3x3_backward_workspace", &backward_workspace, py::arg("n"), py::arg("in_channels"), py::arg("h"),
             py::arg("w"), py::arg("out_channels"));
}

}  // namespace spinecore
