#include "spinecore/recurrent_residual_conv_bn.h"

#include <pybind11/stl.h>

#include "program.h"

namespace py = pybind11;

namespace spinecore {
namespace recurrent_residual_conv_bn_bindings {

using Views = const std::vector<TensorView>&;

std::vector<TensorView> all_named(Views views, const char* name) {
  std::vector<TensorView> all(views);
  for (TensorView& view : all) view.name = name;
  return all;
}

int64_t workspace(View x, int64_t steps, bool backward) {
  if (x.dims != 4 || steps < 0) throw py::value_error("recurrence_workspace: expected an image and steps >= 0");
  return backward ? recurrence_backward_workspace(x, steps) : recurrence_forward_workspace(x, steps);
}

Step forward(View x, View w_in, View w_rec, View gamma, View beta, double eps, bool residual, View y, View mean,
             View variance, View inverse_std, Views z, View space) {
  const RecurrenceForwardViews views{named(x, "x"),
                                     named(w_in, "w_in"),
                                     named(w_rec, "w_rec"),
                                     named(gamma, "gamma"),
                                     named(beta, "beta"),
                                     named(y, "y"),
                                     named(mean, "mean"),
                                     named(variance, "variance"),
                                     named(inverse_std, "inverse_std"),
                                     named(space, "workspace"),
                                     all_named(z, "z")};
  return [views, eps, residual](bool* finite) { return recurrence_forward(views, eps, residual, finite); };
}

bool preactivations(View x, View w_in, View w_rec, View scale, View shift, Views z, View space) {
  const TensorView none;
  const RecurrenceForwardViews views{named(x, "x"),
                                     named(w_in, "w_in"),
                                     named(w_rec, "w_rec"),
                                     named(scale, "scale"),
                                     named(shift, "shift"),
                                     none,
                                     none,
                                     none,
                                     none,
                                     named(space, "workspace"),
                                     all_named(z, "z")};
  bool finite = true;
  call(recurrence_preactivations, views, &finite);
  return finite;
}

Step backward(View x, View dy, View w_in, View w_rec, View weight, View bias, View mean, View inverse_std, Views z,
              bool batch_statistics, bool residual, View dx, View dw_in, View dw_rec, View d_weight, View d_bias,
              View du, View dd, View space) {
  const RecurrenceBackwardViews views{
      named(x, "x"),           named(dy, "dy"),       named(w_in, "w_in"),     named(w_rec, "w_rec"),
      named(weight, "weight"), named(bias, "bias"),   named(mean, "mean"),     named(inverse_std, "inverse_std"),
      named(dx, "dx"),         named(dw_in, "dw_in"), named(dw_rec, "dw_rec"), named(d_weight, "d_weight"),
      named(d_bias, "d_bias"), named(du, "du"),       named(dd, "dd"),         named(space, "workspace"),
      all_named(z, "z")};
  return [views, batch_statistics, residual](bool* finite) {
    return recurrence_backward(views, batch_statistics, residual, finite);
  };
}

}  // namespace recurrent_residual_conv_bn_bindings

void bind_recurrent_residual_conv_bn(py::module_& module) {
  using namespace recurrent_residual_conv_bn_bindings;
  module.def("recurrence_workspace", &workspace, py::arg("x"), py::arg("steps"), py::arg("backward"));
  define_step(module, "recurrence_forward", &forward, py::arg("x"), py::arg("w_in"), py::arg("w_rec"), py::arg("gamma"),
              py::arg("beta"), py::arg("eps"), py::arg("residual"), py::arg("y"), py::arg("mean"), py::arg("variance"),
              py::arg("inverse_std"), py::arg("z"), py::arg("workspace"));
  module.def("recurrence_preactivations", &preactivations, py::arg("x"), py::arg("w_in"), py::arg("w_rec"),
             py::arg("scale"), py::arg("shift"), py::arg("z"), py::arg("workspace"));
  define_step(module, "recurrence_backward", &backward, py::arg("x"), py::arg("dy"), py::arg("w_in"), py::arg("w_rec"),
              py::arg("weight"), py::arg("bias"), py::arg("mean"), py::arg("inverse_std"), py::arg("z"),
              py::arg("batch_statistics"), py::arg("residual"), py::arg("dx"), py::arg("dw_in"), py::arg("dw_rec"),
              py::arg("d_weight"), py::arg("d_bias"), py::arg("du"), py::arg("dd"), py::arg("workspace"));
}

}  // namespace spinecore
