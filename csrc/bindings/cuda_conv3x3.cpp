// The 3x3 convolution on a GPU. Not part of a build without CUDA.
#if defined(SPINECORE_WITH_CUDA) || defined(SPINECORE_CUDA_EMULATION)
#include "bindings.h"
#include "spinecore/cuda/conv3x3.h"

namespace py = pybind11;

namespace spinecore {
namespace cuda_conv3x3_bindings {

void forward(View x, View w, View scale, View shift, View addend, View before, View after, bool relu, bool tf32,
             View raw, View y, uintptr_t stream) {
  const cuda::Conv3x3Views views{named(x, "x"),         named(w, "w"),           named(scale, "scale"),
                                 named(shift, "shift"), named(addend, "addend"), named(before, "before"),
                                 named(after, "after"), named(raw, "raw"),       named(y, "y")};
  call([&] { return cuda::conv3x3_forward(views, relu, tf32, reinterpret_cast<void*>(stream)); });
}

void weights(View x, View dy, bool tf32, View dw, View workspace, uintptr_t stream) {
  const cuda::Conv3x3WeightsViews views{named(x, "x"), named(dy, "dy"), named(dw, "dw"), named(workspace, "workspace")};
  call([&] { return cuda::conv3x3_weights(views, tf32, reinterpret_cast<void*>(stream)); });
}

int64_t workspace(int64_t n, int64_t c, int64_t h, int64_t w, int64_t out) {
  const int64_t most = int64_t{1} << 31, wide = int64_t{1} << 16;
  if (n < 1 || h < 1 || w < 1 || n * h * w >= most - cuda::product_tile || c < 1 || c >= wide || out < 1 ||
      out >= wide) {
    throw py::value_error("cuda_conv3x3_workspace: no kernel takes these sizes");
  }
  return cuda::conv3x3_plan(static_cast<int>(n), static_cast<int>(h), static_cast<int>(w), static_cast<int>(c),
                            static_cast<int>(out), cuda::Element::float32, false)
      .workspace;
}

}  // namespace cuda_conv3x3_bindings

void bind_cuda_conv3x3(py::module_& module) {
  using namespace cuda_conv3x3_bindings;
  module.def("cuda_conv3x3_workspace", &workspace, py::arg("n"), py::arg("c"), py::arg("h"), py::arg("w"),
             py::arg("out"));
  module.def("cuda_conv3x3_forward", &forward, py::arg("x"), py::arg("w"), py::arg("scale"), py::arg("shift"),
             py::arg("addend"), py::arg("before"), py::arg("after"), py::arg("relu"), py::arg("tf32"), py::arg("raw"),
             py::arg("y"), py::arg("stream"));
  module.def("cuda_conv3x3_weights", &weights, py::arg("x"), py::arg("dy"), py::arg("tf32"), py::arg("dw"),
             py::arg("workspace"), py::arg("stream"));
}

}  // namespace spinecore
#endif
