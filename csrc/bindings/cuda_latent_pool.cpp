// The latent poolings on a GPU. Not part of a build without CUDA.
#if defined(SPINECORE_WITH_CUDA) || defined(SPINECORE_CUDA_EMULATION)
#include "bindings.h"
#include "spinecore/cuda/latent_pool.h"

namespace py = pybind11;

namespace spinecore {
namespace cuda_latent_pool_bindings {

void forward(View x, View queries, int64_t rows, bool tf32, View mask, View bias, View scores, View norms, View means,
             View workspace, uintptr_t stream) {
  const cuda::LatentPoolForwardViews views{named(x, "x"),         named(queries, "queries"),    named(mask, "mask"),
                                           named(bias, "bias"),   named(scores, "scores"),      named(norms, "norms"),
                                           named(means, "means"), named(workspace, "workspace")};
  call([&] { return cuda::latent_pool_forward(views, rows, tf32, reinterpret_cast<void*>(stream)); });
}

void backward(View x, View queries, int64_t rows, bool tf32, View mask, View scores, View norms, View d_means,
              View delta, View dx, View d_scores, View d_queries, View workspace, uintptr_t stream) {
  const cuda::LatentPoolBackwardViews views{named(x, "x"),
                                            named(queries, "queries"),
                                            named(mask, "mask"),
                                            named(scores, "scores"),
                                            named(norms, "norms"),
                                            named(d_means, "d_means"),
                                            named(delta, "delta"),
                                            named(dx, "dx"),
                                            named(d_scores, "d_scores"),
                                            named(d_queries, "d_queries"),
                                            named(workspace, "workspace")};
  call([&] { return cuda::latent_pool_backward(views, rows, tf32, reinterpret_cast<void*>(stream)); });
}

py::tuple workspaces(int64_t batch, int64_t tokens, int64_t width, int64_t queries) {
  const int64_t most = int64_t{1} << 31, wide = int64_t{1} << 16;
  if (batch < 1 || tokens < 1 || batch * tokens >= most / cuda::product_tile || width < 1 || width >= wide ||
      queries < 1 || queries >= wide) {
    throw py::value_error("cuda_latent_pool_workspaces: no kernel takes these sizes");
  }
  const auto plan = cuda::latent_pool_plan(static_cast<int>(batch), static_cast<int>(tokens), static_cast<int>(width),
                                           static_cast<int>(queries), 1, cuda::Element::float32);
  return py::make_tuple(plan.forward_workspace, plan.backward_workspace);
}

}  // namespace cuda_latent_pool_bindings

void bind_cuda_latent_pool(py::module_& module) {
  using namespace cuda_latent_pool_bindings;
  module.def("cuda_latent_pool_workspaces", &workspaces, py::arg("batch"), py::arg("tokens"), py::arg("width"),
             py::arg("queries"));
  module.def("cuda_latent_pool_forward", &forward, py::arg("x"), py::arg("queries"), py::arg("rows"), py::arg("tf32"),
             py::arg("mask"), py::arg("bias"), py::arg("scores"), py::arg("norms"), py::arg("means"),
             py::arg("workspace"), py::arg("stream"));
  module.def("cuda_latent_pool_backward", &backward, py::arg("x"), py::arg("queries"), py::arg("rows"), py::arg("tf32"),
             py::arg("mask"), py::arg("scores"), py::arg("norms"), py::arg("d_means"), py::arg("delta"), py::arg("dx"),
             py::arg("d_scores"), py::arg("d_queries"), py::arg("workspace"), py::arg("stream"));
}

}  // namespace spinecore
#endif
