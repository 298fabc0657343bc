#include "spinecore/machine_peak.h"

#include "bindings.h"

namespace py = pybind11;

namespace spinecore {

void bind_machine_peak(py::module_& module) {
  module.def(
      "fma_burst",
      [](int64_t steps) {
        int64_t operations = 0;
        call(fma_burst, steps, &operations);
        return operations;
      },
      py::arg("steps"));
  module.def(
      "read_burst",
      [](View x) {
        float total = 0;
        call(read_burst, named(x, "x"), &total);
        return total;
      },
      py::arg("x"));
  module.def(
      "copy_burst", [](View x, View y, bool streamed) { call(copy_burst, named(x, "x"), named(y, "y"), streamed); },
      py::arg("x"), py::arg("y"), py::arg("streamed"));
}

}  // namespace spinecore
