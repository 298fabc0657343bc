#include "spinecore/scse_gate.h"

#include <algorithm>

#include "program.h"

namespace py = pybind11;

namespace spinecore {
namespace scse_gate_bindings {

Step forward(View x, View w1, View b1, View w2, View b2, View ws, View bs, int mode, View y, View channel_gate,
             View spatial_gate, View pooled) {
  const ScseGateForwardViews views{named(x, "x"),
                                   named(w1, "w1"),
                                   named(b1, "b1"),
                                   named(w2, "w2"),
                                   named(b2, "b2"),
                                   named(ws, "ws"),
                                   named(bs, "bs"),
                                   named(y, "y"),
                                   named(channel_gate, "channel_gate"),
                                   named(spatial_gate, "spatial_gate"),
                                   named(pooled, "pooled")};
  return [views, mode](bool* /*finite*/) { return scse_gate_forward(views, mode); };
}

Step backward(View x, View dy, View w1, View b1, View w2, View b2, View ws, View channel_gate, View spatial_gate,
              View pooled, int mode, View dx, View dw1, View db1, View dw2, View db2, View dws, View dbs,
              View workspace) {
  const ScseGateBackwardViews views{named(x, "x"),
                                    named(dy, "dy"),
                                    named(w1, "w1"),
                                    named(b1, "b1"),
                                    named(w2, "w2"),
                                    named(b2, "b2"),
                                    named(ws, "ws"),
                                    named(channel_gate, "channel_gate"),
                                    named(spatial_gate, "spatial_gate"),
                                    named(pooled, "pooled"),
                                    named(dx, "dx"),
                                    named(dw1, "dw1"),
                                    named(db1, "db1"),
                                    named(dw2, "dw2"),
                                    named(db2, "db2"),
                                    named(dws, "dws"),
                                    named(dbs, "dbs"),
                                    named(workspace, "workspace")};
  return [views, mode](bool* /*finite*/) { return scse_gate_backward(views, mode); };
}

int64_t workspace_size(int64_t n, int64_t c, int64_t h, int64_t w, int64_t reduced) {
  if (std::min({n, c, h, w, reduced}) < 0) throw py::value_error("scse_gate_workspace: sizes must not be negative");
  return std::max(scse_gate_backward_workspace(scse_gate_geometry(n, c, h * w, reduced, false)),
                  scse_gate_backward_workspace(scse_gate_geometry(n, c, h * w, reduced, true)));
}

}  // namespace scse_gate_bindings

void bind_scse_gate(py::module_& module) {
  using namespace scse_gate_bindings;
  module.def("scse_gate_workspace", &workspace_size, py::arg("n"), py::arg("c"), py::arg("h"), py::arg("w"),
             py::arg("reduced"));
  define_step(module, "scse_gate_forward", &forward, py::arg("x"), py::arg("w1"), py::arg("b1"), py::arg("w2"),
              py::arg("b2"), py::arg("ws"), py::arg("bs"), py::arg("mode"), py::arg("y"), py::arg("channel_gate"),
              py::arg("spatial_gate"), py::arg("pooled"));
  define_step(module, "scse_gate_backward", &backward, py::arg("x"), py::arg("dy"), py::arg("w1"), py::arg("b1"),
              py::arg("w2"), py::arg("b2"), py::arg("ws"), py::arg("channel_gate"), py::arg("spatial_gate"),
              py::arg("pooled"), py::arg("mode"), py::arg("dx"), py::arg("dw1"), py::arg("db1"), py::arg("dw2"),
              py::arg("db2"), py::arg("dws"), py::arg("dbs"), py::arg("workspace"));
}

}  // namespace spinecore
