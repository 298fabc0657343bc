// The dictionary pooling on a GPU. Not part of a build without CUDA.
#if defined(SPINECORE_WITH_CUDA) || defined(SPINECORE_CUDA_EMULATION)
#include "bindings.h"
#include "spinecore/cuda/dictionary_pool.h"

namespace py = pybind11;

namespace spinecore {
namespace cuda_dictionary_pool_bindings {

void forward(View x, View entries, int64_t heads, bool tf32, View share, View weights, View workspace,
             uintptr_t stream) {
  const cuda::DictionaryPoolForwardViews views{named(x, "x"), named(entries, "entries"), named(share, "share"),
                                               named(weights, "weights"), named(workspace, "workspace")};
  call([&] { return cuda::dictionary_pool_forward(views, heads, tf32, reinterpret_cast<void*>(stream)); });
}

void backward(View x, View entries, int64_t heads, bool tf32, View share, View weights, View d_mean, View dx,
              View d_scores, View d_entries, View workspace, uintptr_t stream) {
  const cuda::DictionaryPoolBackwardViews views{named(x, "x"),
                                                named(entries, "entries"),
                                                named(share, "share"),
                                                named(weights, "weights"),
                                                named(d_mean, "d_mean"),
                                                named(dx, "dx"),
                                                named(d_scores, "d_scores"),
                                                named(d_entries, "d_entries"),
                                                named(workspace, "workspace")};
  call([&] { return cuda::dictionary_pool_backward(views, heads, tf32, reinterpret_cast<void*>(stream)); });
}

py::tuple workspaces(int64_t batch, int64_t tokens, int64_t width, int64_t entries, int64_t heads) {
  const int64_t most = int64_t{1} << 31, wide = int64_t{1} << 16;
  if (batch < 1 || tokens < 1 || batch * tokens >= most / cuda::product_tile || width < 1 || width >= wide ||
      entries < 1 || entries >= wide || heads < 1 || entries % heads != 0) {
    throw py::value_error("cuda_dictionary_pool_workspaces: no kernel takes these sizes");
  }
  const auto plan =
      cuda::dictionary_pool_plan(static_cast<int>(batch), static_cast<int>(tokens), static_cast<int>(width),
                                 static_cast<int>(heads), static_cast<int>(entries / heads), cuda::Element::float32);
  return py::make_tuple(plan.forward_workspace, plan.backward_workspace);
}

}  // namespace cuda_dictionary_pool_bindings

void bind_cuda_dictionary_pool(py::module_& module) {
  using namespace cuda_dictionary_pool_bindings;
  module.def("cuda_dictionary_pool_workspaces", &workspaces, py::arg("batch"), py::arg("tokens"), py::arg("width"),
             py::arg("entries"), py::arg("heads"));
  module.def("cuda_dictionary_pool_forward", &forward, py::arg("x"), py::arg("entries"), py::arg("heads"),
             py::arg("tf32"), py::arg("share"), py::arg("weights"), py::arg("workspace"), py::arg("stream"));
  module.def("cuda_dictionary_pool_backward", &backward, py::arg("x"), py::arg("entries"), py::arg("heads"),
             py::arg("tf32"), py::arg("share"), py::arg("weights"), py::arg("d_mean"), py::arg("dx"),
             py::arg("d_scores"), py::arg("d_entries"), py::arg("workspace"), py::arg("stream"));
}

}  // namespace spinecore
#endif
