#include "spinecore/covariance_decorrelation.h"

#include <algorithm>

#include "bindings.h"

namespace py = pybind11;

namespace spinecore {
namespace covariance_decorrelation_bindings {

void forward(View z, View mask, float gamma, float eps, View off_diagonal, View hinge, View kept, View moments,
             View workspace) {
  const CovarianceForwardViews views{
      named(z, "z"),       named(mask, "mask"),       named(off_diagonal, "off_diagonal"), named(hinge, "hinge"),
      named(kept, "kept"), named(moments, "moments"), named(workspace, "workspace")};
  call(covariance_forward, views, gamma, eps);
}

void backward(View z, View mask, View d_off_diagonal, View d_hinge, View kept, View moments, float gamma, float eps,
              View dz, View workspace) {
  const CovarianceBackwardViews views{named(z, "z"),
                                      named(mask, "mask"),
                                      named(d_off_diagonal, "d_off_diagonal"),
                                      named(d_hinge, "d_hinge"),
                                      named(kept, "kept"),
                                      named(moments, "moments"),
                                      named(dz, "dz"),
                                      named(workspace, "workspace")};
  call(covariance_backward, views, gamma, eps);
}

py::tuple workspaces(int64_t rows, int64_t width) {
  if (std::min(rows, width) < 0) throw py::value_error("covariance_workspaces: sizes must not be negative");
  const CovarianceGeometry geometry = covariance_geometry(rows, width);
  return py::make_tuple(geometry.forward_workspace, geometry.backward_workspace);
}

}  // namespace covariance_decorrelation_bindings

void bind_covariance_decorrelation(py::module_& module) {
  using namespace covariance_decorrelation_bindings;
  module.def("covariance_workspaces", &workspaces, py::arg("rows"), py::arg("width"));
  module.def("covariance_forward", &forward, py::arg("z"), py::arg("mask"), py::arg("gamma"), py::arg("eps"),
             py::arg("off_diagonal"), py::arg("hinge"), py::arg("kept"), py::arg("moments"), py::arg("workspace"));
  module.def("covariance_backward", &backward, py::arg("z"), py::arg("mask"), py::arg("d_off_diagonal"),
             py::arg("d_hinge"), py::arg("kept"), py::arg("moments"), py::arg("gamma"), py::arg("eps"), py::arg("dz"),
             py::arg("workspace"));
}

}  // namespace spinecore
