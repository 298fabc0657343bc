// The 1x1 convolution, alone and with batch normalisation.
#include "spinecore/conv1x1.h"

#include <algorithm>

#include "program.h"
#include "spinecore/conv1x1_bn.h"

namespace py = pybind11;

namespace spinecore {
namespace conv1x1_bindings {

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

Step forward(View x, View w, View bias, View y, View workspace) {
  const Conv1x1Views views{named(x, "x"), named(w, "w"), named(bias, "bias"), named(y, "y"),
                           named(workspace, "workspace")};
  return [views](bool* /*finite*/) { return conv1x1_forward(views); };
}

Step backward(View x, View dy, View w, View dx, View dw, View d_bias, View workspace) {
  const Conv1x1BackwardViews views{named(x, "x"),
                                   named(dy, "dy"),
                                   named(w, "w"),
                                   named(dx, "dx"),
                                   named(dw, "dw"),
                                   named(d_bias, "d_bias"),
                                   named(workspace, "workspace")};
  return [views](bool* /*finite*/) { return conv1x1_backward(views); };
}

int64_t bn_workspace(int64_t pixels, int64_t in, int64_t out) {
  if (std::min({pixels, in, out}) < 0) throw py::value_error("conv1x1_bn_workspace: sizes must not be negative");
  return conv1x1_bn_workspace(pixels, in, out);
}

Step bn_forward(View x, View w, View gamma, View beta, double eps, bool relu, View z, View y, View mean, View variance,
                View inverse, View workspace) {
  const Conv1x1BnViews views{named(x, "x"),
                             named(w, "w"),
                             named(gamma, "gamma"),
                             named(beta, "beta"),
                             named(z, "z"),
                             named(y, "y"),
                             named(mean, "mean"),
                             named(variance, "variance"),
                             named(inverse, "inverse"),
                             named(workspace, "workspace")};
  return [views, eps, relu](bool* /*finite*/) { return conv1x1_bn_forward(views, eps, relu); };
}

Step bn_backward(View x, View dy, View w, View gamma, View beta, View z, View mean, View inverse, bool relu, View dx,
                 View dw, View d_gamma, View d_beta, View workspace) {
  const Conv1x1BnBackwardViews views{named(x, "x"),
                                     named(dy, "dy"),
                                     named(w, "w"),
                                     named(gamma, "gamma"),
                                     named(beta, "beta"),
                                     named(z, "z"),
                                     named(mean, "mean"),
                                     named(inverse, "inverse"),
                                     named(dx, "dx"),
                                     named(dw, "dw"),
                                     named(d_gamma, "d_gamma"),
                                     named(d_beta, "d_beta"),
                                     named(workspace, "workspace")};
  return [views, relu](bool* /*finite*/) { return conv1x1_bn_backward(views, relu); };
}

}  // namespace conv1x1_bindings

void bind_conv1x1(py::module_& module) {
  using namespace conv1x1_bindings;
  module.def("conv1x1_workspace", &workspace, py::arg("in_channels"), py::arg("out_channels"));
  define_step(module, "conv1x1_forward", &forward, py::arg("x"), py::arg("w"), py::arg("bias"), py::arg("y"),
              py::arg("workspace"));
  module.def("conv1x1_backward_workspace", &backward_workspace, py::arg("pixels"), py::arg("in_channels"),
             py::arg("out_channels"));
  define_step(module, "conv1x1_backward", &backward, py::arg("x"), py::arg("dy"), py::arg("w"), py::arg("dx"),
              py::arg("dw"), py::arg("d_bias"), py::arg("workspace"));
  module.def("conv1x1_bn_workspace", &bn_workspace, py::arg("pixels"), py::arg("in_channels"), py::arg("out_channels"));
  define_step(module, "conv1x1_bn_forward", &bn_forward, py::arg("x"), py::arg("w"), py::arg("gamma"), py::arg("beta"),
              py::arg("eps"), py::arg("relu"), py::arg("z"), py::arg("y"), py::arg("mean"), py::arg("variance"),
              py::arg("inverse"), py::arg("workspace"));
  define_step(module, "conv1x1_bn_backward", &bn_backward, py::arg("x"), py::arg("dy"), py::arg("w"), py::arg("gamma"),
              py::arg("beta"), py::arg("z"), py::arg("mean"), py::arg("inverse"), py::arg("relu"), py::arg("dx"),
              py::arg("dw"), py::arg("d_gamma"), py::arg("d_beta"), py::arg("workspace"));
}

}  // namespace spinecore
