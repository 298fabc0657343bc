// The Python module spinecore._core: the only C++ that knows Python. Arguments and meanings: spinecore/_core.pyi.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "bindings.h"
#include "spinecore/cpu_features.h"
#include "spinecore/parallel.h"
#if defined(SPINECORE_WITH_CUDA)
#include "spinecore/cuda_device.h"
#endif

namespace py = pybind11;
using namespace spinecore;

namespace {

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
  facts["bf16_products"] = has_bf16_products();
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
  module.def("selected_isa", [] { return isa_name(selected_isa()); });
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
  bind_program(module);
  bind_convolution(module);
  bind_conv1x1(module);
  bind_fused_conv(module);
  bind_layout(module);
  bind_recurrent_residual_conv_bn(module);
  bind_scse_gate(module);
  bind_latent_pools(module);
  bind_covariance_decorrelation(module);
  bind_cross_decorrelation(module);
  bind_machine_peak(module);
#if defined(SPINECORE_WITH_CUDA)
  bind_cuda_scse_gate(module);
  bind_cuda_covariance_decorrelation(module);
  bind_cuda_cross_decorrelation(module);
  bind_cuda_latent_pool(module);
  bind_cuda_dictionary_pool(module);
  bind_cuda_conv3x3(module);
  bind_cuda_recurrent_residual_conv(module);
#endif
}
