// The covariance penalty on a GPU. Not part of a build without CUDA.
#if defined(SPINECORE_WITH_CUDA) || defined(SPINECORE_CUDA_EMULATION)
#include "bindings.h"
#include "spinecore/cuda/covariance_decorrelation.h"

namespace py = pybind11;

namespace spinecore {
namespace cuda_covariance_decorrelation_bindings {

void forward(View z, View mask, float gamma, float eps, View off_diagonal, View hinge, View kept, View moments,
             View workspace, uintptr_t stream) {
  const CovarianceForwardViews views{
      named(z, "z"),       named(mask, "mask"),       named(off_diagonal, "off_diagonal"), named(hinge, "hinge"),
      named(kept, "kept"), named(moments, "moments"), named(workspace, "workspace")};
  call([&] { return cuda::covariance_forward(views, gamma, eps, reinterpret_cast<void*>(stream)); });
}

void backward(View z, View mask, View d_off_diagonal, View d_hinge, View kept, View moments, float gamma, float eps,
              View dz, View workspace, uintptr_t stream) {
  const CovarianceBackwardViews views{named(z, "z"),
                                      named(mask, "mask"),
                                      named(d_off_diagonal, "d_off_diagonal"),
                                      named(d_hinge, "d_hinge"),
                                      named(kept, "kept"),
                                      named(moments, "moments"),
                                      named(dz, "dz"),
                                      named(workspace, "workspace")};
  call([&] { return cuda::covariance_backward(views, gamma, eps, reinterpret_cast<void*>(stream)); });
}

py::tuple workspaces(int64_t rows, int64_t columns) {
  if (rows < 1 || rows >= int64_t{1} << 24 || columns < 1 || columns >= int64_t{1} << 16) {
    throw py::value_error("cuda_covariance_workspaces: no kernel takes these sizes");
  }
  const auto plan = cuda::covariance_plan(static_cast<int>(rows), static_cast<int>(columns), cuda::Element::float32);
  return py::make_tuple(plan.forward_workspace, plan.backward_workspace);
}

}  // namespace cuda_covariance_decorrelation_bindings

void bind_cuda_covariance_decorrelation(py::module_& module) {
  using namespace cuda_covariance_decorrelation_bindings;
  module.def("cuda_covariance_workspaces", &workspaces, py::arg("rows"), py::arg("columns"));
  module.def("cuda_covariance_forward", &forward, py::arg("z"), py::arg("mask"), py::arg("gamma"), py::arg("eps"),
             py::arg("off_diagonal"), py::arg("hinge"), py::arg("kept"), py::arg("moments"), py::arg("workspace"),
             py::arg("stream"));
  module.def("cuda_covariance_backward", &backward, py::arg("z"), py::arg("mask"), py::arg("d_off_diagonal"),
             py::arg("d_hinge"), py::arg("kept"), py::arg("moments"), py::arg("gamma"), py::arg("eps"), py::arg("dz"),
             py::arg("workspace"), py::arg("stream"));
}

}  // namespace spinecore
#endif
