#include "program.h"

namespace py = pybind11;

namespace spinecore {

void bind_program(py::module_& module) {
  py::class_<Program>(module, "Program").def(py::init<>()).def("run", &Program::run);
}

}  // namespace spinecore
