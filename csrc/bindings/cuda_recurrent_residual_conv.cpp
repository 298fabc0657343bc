// The fused recurrent residual convolution on a GPU. Not part of a build without CUDA.
#if defined(SPINECORE_WITH_CUDA) || defined(SPINECORE_CUDA_EMULATION)
#include "bindings.h"
#include "spinecore/cuda/recurrent_residual_conv.h"

namespace py = pybind11;

namespace spinecore {
namespace cuda_recurrent_residual_conv_bindings {

void forward(View x, View w_in, View w_rec, View scale, View shift, int64_t steps, bool residual, View y,
             uintptr_t stream) {
  const cuda::RecurrenceViews views{named(x, "x"),         named(w_in, "w_in"),   named(w_rec, "w_rec"),
                                    named(scale, "scale"), named(shift, "shift"), named(y, "y")};
  call([&] { return cuda::recurrence_forward(views, steps, residual, reinterpret_cast<void*>(stream)); });
}

}  // namespace cuda_recurrent_residual_conv_bindings

void bind_cuda_recurrent_residual_conv(py::module_& module) {
  using namespace cuda_recurrent_residual_conv_bindings;
  module.def("cuda_recurrent_residual_conv_forward", &forward, py::arg("x"), py::arg("w_in"), py::arg("w_rec"),
             py::arg("scale"), py::arg("shift"), py::arg("steps"), py::arg("residual"), py::arg("y"),
             py::arg("stream"));
}

}  // namespace spinecore
#endif
