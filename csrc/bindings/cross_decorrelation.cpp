#include "spinecore/cross_decorrelation.h"

#include <algorithm>

#include "bindings.h"

namespace py = pybind11;

namespace spinecore {
namespace cross_decorrelation_bindings {

void forward(View a, View b, bool normalise, View penalty, View kept, View statistics, View workspace) {
  const CrossForwardViews views{named(a, "a"),
                                named(b, "b"),
                                named(penalty, "penalty"),
                                named(kept, "kept"),
                                named(statistics, "statistics"),
                                named(workspace, "workspace")};
  call(cross_forward, views, normalise);
}

void backward(View a, View b, View grad, View kept, View statistics, bool normalise, View da, View db, View workspace) {
  const CrossBackwardViews views{named(a, "a"),
                                 named(b, "b"),
                                 named(grad, "grad"),
                                 named(kept, "kept"),
                                 named(statistics, "statistics"),
                                 named(da, "da"),
                                 named(db, "db"),
                                 named(workspace, "workspace")};
  call(cross_backward, views, normalise);
}

py::tuple workspaces(int64_t rows, int64_t width_a, int64_t width_b, bool normalise) {
  if (std::min({rows, width_a, width_b}) < 0)
    throw py::value_error("cross_decorrelation_workspaces: sizes must not be negative");
  const CrossGeometry geometry = cross_geometry(rows, width_a, width_b, normalise);
  return py::make_tuple(geometry.forward_workspace, geometry.backward_workspace);
}

}  // namespace cross_decorrelation_bindings

void bind_cross_decorrelation(py::module_& module) {
  using namespace cross_decorrelation_bindings;
  module.def("cross_decorrelation_workspaces", &workspaces, py::arg("rows"), py::arg("width_a"), py::arg("width_b"),
             py::arg("normalise"));
  module.def("cross_decorrelation_forward", &forward, py::arg("a"), py::arg("b"), py::arg("normalise"),
             py::arg("penalty"), py::arg("kept"), py::arg("statistics"), py::arg("workspace"));
  module.def("cross_decorrelation_backward", &backward, py::arg("a"), py::arg("b"), py::arg("grad"), py::arg("kept"),
             py::arg("statistics"), py::arg("normalise"), py::arg("da"), py::arg("db"), py::arg("workspace"));
}

}  // namespace spinecore
