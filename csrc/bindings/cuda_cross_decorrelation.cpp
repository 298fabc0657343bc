// The penalties between two batches on a GPU. Not part of a build without CUDA.
#if defined(SPINECORE_WITH_CUDA) || defined(SPINECORE_CUDA_EMULATION)
#include "bindings.h"
#include "spinecore/cuda/cross_decorrelation.h"

namespace py = pybind11;

namespace spinecore {
namespace cuda_cross_decorrelation_bindings {

void forward(View a, View b, bool normalise, View penalty, View kept, View statistics, View workspace,
             uintptr_t stream) {
  const CrossForwardViews views{named(a, "a"),
                                named(b, "b"),
                                named(penalty, "penalty"),
                                named(kept, "kept"),
                                named(statistics, "statistics"),
                                named(workspace, "workspace")};
  call([&] { return cuda::cross_forward(views, normalise, reinterpret_cast<void*>(stream)); });
}

void backward(View a, View b, View grad, View kept, View statistics, bool normalise, View da, View db, View workspace,
              uintptr_t stream) {
  const CrossBackwardViews views{named(a, "a"),
                                 named(b, "b"),
                                 named(grad, "grad"),
                                 named(kept, "kept"),
                                 named(statistics, "statistics"),
                                 named(da, "da"),
                                 named(db, "db"),
                                 named(workspace, "workspace")};
  call([&] { return cuda::cross_backward(views, normalise, reinterpret_cast<void*>(stream)); });
}

py::tuple workspaces(int64_t rows, int64_t width_a, int64_t width_b, bool normalise) {
  const auto fits = [](int64_t width) { return width >= 1 && width < int64_t{1} << 16; };
  if (rows < 1 || rows >= int64_t{1} << 24 || !fits(width_a) || !fits(width_b)) {
    throw py::value_error("cuda_cross_workspaces: no kernel takes these sizes");
  }
  const auto plan = cuda::cross_plan(static_cast<int>(rows), static_cast<int>(width_a), static_cast<int>(width_b),
                                     cuda::Element::float32, normalise);
  return py::make_tuple(plan.forward_workspace, plan.backward_workspace);
}

}  // namespace cuda_cross_decorrelation_bindings

void bind_cuda_cross_decorrelation(py::module_& module) {
  using namespace cuda_cross_decorrelation_bindings;
  module.def("cuda_cross_workspaces", &workspaces, py::arg("rows"), py::arg("width_a"), py::arg("width_b"),
             py::arg("normalise"));
  module.def("cuda_cross_forward", &forward, py::arg("a"), py::arg("b"), py::arg("normalise"), py::arg("penalty"),
             py::arg("kept"), py::arg("statistics"), py::arg("workspace"), py::arg("stream"));
  module.def("cuda_cross_backward", &backward, py::arg("a"), py::arg("b"), py::arg("grad"), py::arg("kept"),
             py::arg("statistics"), py::arg("normalise"), py::arg("da"), py::arg("db"), py::arg("workspace"),
             py::arg("stream"));
}

}  // namespace spinecore
#endif
