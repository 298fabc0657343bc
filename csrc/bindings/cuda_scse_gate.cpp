// The scSE gate on a GPU. Not part of a build without CUDA.
#if defined(SPINECORE_WITH_CUDA) || defined(SPINECORE_CUDA_EMULATION)
#include "bindings.h"
#include "spinecore/cuda/scse_gate.h"

namespace py = pybind11;

namespace spinecore {
namespace cuda_scse_gate_bindings {

void forward(View x, View w1, View b1, View w2, View b2, View ws, View bs, int mode, View y, View channel_gate,
             View spatial_gate, View pooled, View workspace, uintptr_t stream) {
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
  const auto entry = [&] {
    return cuda::scse_gate_forward(views, named(workspace, "workspace"), mode, reinterpret_cast<void*>(stream));
  };
  call(entry);
}

void backward(View x, View dy, View w1, View b1, View w2, View b2, View ws, View channel_gate, View spatial_gate,
              View pooled, int mode, View dx, View dw1, View db1, View dw2, View db2, View dws, View dbs,
              View workspace, uintptr_t stream) {
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
  const auto entry = [&] { return cuda::scse_gate_backward(views, mode, reinterpret_cast<void*>(stream)); };
  call(entry);
}

// For either layout and every element type.
int64_t workspace_size(int64_t n, int64_t c, int64_t h, int64_t w, int64_t hidden, bool backward) {
  if (n < 0 || c < 1 || c > cuda::scse_gate_most_channels || h < 0 || w < 0 || c * h * w >= int64_t{1} << 31 ||
      hidden < 1 || hidden > cuda::scse_gate_most_hidden) {
    throw py::value_error("cuda_scse_gate_workspace: no kernel takes these sizes");
  }
  int64_t most = 0;
  for (const bool channels_last : {false, true}) {
    for (const auto element : {cuda::Element::float32, cuda::Element::bfloat16}) {
      const auto plan = cuda::scse_gate_plan(n, static_cast<int>(c), static_cast<int>(h * w), static_cast<int>(hidden),
                                             channels_last, element, backward);
      most = std::max(most, plan.workspace);
    }
  }
  return most;
}

}  // namespace cuda_scse_gate_bindings

void bind_cuda_scse_gate(py::module_& module) {
  using namespace cuda_scse_gate_bindings;
  module.attr("cuda_scse_gate_most_channels") = cuda::scse_gate_most_channels;
  module.attr("cuda_scse_gate_most_hidden") = cuda::scse_gate_most_hidden;
  module.def("cuda_scse_gate_workspace", &workspace_size, py::arg("n"), py::arg("c"), py::arg("h"), py::arg("w"),
             py::arg("hidden"), py::arg("backward"));
  module.def("cuda_scse_gate_forward", &forward, py::arg("x"), py::arg("w1"), py::arg("b1"), py::arg("w2"),
             py::arg("b2"), py::arg("ws"), py::arg("bs"), py::arg("mode"), py::arg("y"), py::arg("channel_gate"),
             py::arg("spatial_gate"), py::arg("pooled"), py::arg("workspace"), py::arg("stream"));
  module.def("cuda_scse_gate_backward", &backward, py::arg("x"), py::arg("dy"), py::arg("w1"), py::arg("b1"),
             py::arg("w2"), py::arg("b2"), py::arg("ws"), py::arg("channel_gate"), py::arg("spatial_gate"),
             py::arg("pooled"), py::arg("mode"), py::arg("dx"), py::arg("dw1"), py::arg("db1"), py::arg("dw2"),
             py::arg("db2"), py::arg("dws"), py::arg("dbs"), py::arg("workspace"), py::arg("stream"));
}

}  // namespace spinecore
#endif
