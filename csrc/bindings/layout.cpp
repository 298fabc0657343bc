#include "spinecore/layout.h"

#include "bindings.h"

namespace py = pybind11;

namespace spinecore {

void bind_layout(py::module_& module) {
  module.def(
      "copy_layout", [](View from, View to) { call(copy_layout, named(from, "from"), named(to, "to")); },
      py::arg("from"), py::arg("to"));
}

}  // namespace spinecore
