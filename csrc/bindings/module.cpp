// The Python module spinecore._core: the only C++ that knows Python. Arguments and meanings: spinecore/_core.pyi.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>

#include "spinecore/cpu_features.h"
#include "spinecore/parallel.h"
#include "spinecore/scse_gate.h"
#include "spinecore/status.h"
#include "tensor_caster.h"
#if defined(SPINECORE_WITH_CUDA)
#include "spinecore/cuda_device.h"
#endif

namespace py = pybind11;
using namespace spinecore;

namespace {

void raise_unless_ok(const Status& status) {
  switch (status.code) {
    case StatusCode::ok:
      return;
    case StatusCode::wrong_type:
      throw py::type_error(status.message);
    case StatusCode::wrong_value:
      throw py::value_error(status.message);
    case StatusCode::internal:
      throw std::runtime_error(status.message);
  }
}

TensorView named(TensorView view, const char* name) {
  view.name = name;
  return view;
}

// Runs a checked entry of the core without the GIL: views hold pointers only, and the caller holds the tensors.
template <class Views, class Entry>
void call(Entry entry, const Views& views, int mode) {
  Status status;
  {
    py::gil_scoped_release unlocked;
    status = entry(views, mode);
  }
  raise_unless_ok(status);
}

using View = const TensorView&;

void forward(View x, View w1, View b1, View w2, View b2, View ws, View bs, int mode, View y, View channel_gate,
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
  call(scse_gate_forward, views, mode);
}

void backward(View x, View dy, View w1, View b1, View w2, View b2, View ws, View channel_gate, View spatial_gate,
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
  call(scse_gate_backward, views, mode);
}

int64_t workspace_size(int64_t n, int64_t c, int64_t h, int64_t w, int64_t reduced) {
  if (std::min({n, c, h, w, reduced}) < 0) throw py::value_error("scse_gate_workspace: sizes must not be negative");
  return std::max(scse_gate_backward_workspace(scse_gate_geometry(n, c, h * w, reduced, false)),
                  scse_gate_backward_workspace(scse_gate_geometry(n, c, h * w, reduced, true)));
}

py::dict info() {
  py::dict facts;
  facts["version"] = SPINECORE_VERSION;
#if defined(__clang__)
  facts["compiler"] = __VERSION__;  // names itself
#else
  facts["compiler"] = "GCC " __VERSION__;
#endif
  facts["isa_compiled"] = compiled_isas();
  facts["isa_best"] = isa_name(best_isa());
  facts["isa_selected"] = isa_name(selected_isa());
  facts["isa_error"] = isa_environment_status().message;
  facts["threads_source"] = parallel_source();
#if defined(SPINECORE_WITH_CUDA)
  const CudaDevices devices = cuda_devices();
  facts["cuda_built"] = true;
  facts["cuda_devices"] = devices.count;
  facts["cuda_reason"] = devices.reason;
#else
  facts["cuda_built"] = false;
  facts["cuda_devices"] = 0;
  facts["cuda_reason"] = "this build of spinecore has no CUDA kernels: nvcc was not found, or SPINECORE_CUDA was OFF";
#endif
  return facts;
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "Native core of spinecore. Private: call the operators of spinecore.ops.";
  (void)selected_isa();  // reads SPINECORE_CPU_ISA now, once
  module.def("info", &info);
  module.def("set_isa", [](const std::string& name) { raise_unless_ok(select_isa(name)); }, py::arg("name"));
  module.def(
      "set_parallel_for", [](uintptr_t address) { set_parallel_for(reinterpret_cast<ParallelFor>(address)); },
      py::arg("address"));
  module.def(
      "set_pool_threads",
      [](int threads) {
        if (threads < 0)
          throw py::value_error("set_pool_threads: threads is " + std::to_string(threads) + ", expected >= 0");
        set_pool_threads(threads);
      },
      py::arg("threads"));
  module.def("scse_gate_workspace", &workspace_size, py::arg("n"), py::arg("c"), py::arg("h"), py::arg("w"),
             py::arg("reduced"));
  module.def("scse_gate_forward", &forward, py::arg("x"), py::arg("w1"), py::arg("b1"), py::arg("w2"), py::arg("b2"),
             py::arg("ws"), py::arg("bs"), py::arg("mode"), py::arg("y"), py::arg("channel_gate"),
             py::arg("spatial_gate"), py::arg("pooled"));
  module.def("scse_gate_backward", &backward, py::arg("x"), py::arg("dy"), py::arg("w1"), py::arg("b1"), py::arg("w2"),
             py::arg("b2"), py::arg("ws"), py::arg("channel_gate"), py::arg("spatial_gate"), py::arg("pooled"),
             py::arg("mode"), py::arg("dx"), py::arg("dw1"), py::arg("db1"), py::arg("dw2"), py::arg("db2"),
             py::arg("dws"), py::arg("dbs"), py::arg("workspace"));
}
