// The fused CUDA recurrence, and the convolution that does it step by step, as a Python module that runs on the CPU.
#include "../../../csrc/bindings/bindings.h"

PYBIND11_MODULE(EMULATED_MODULE, module) { spinecore::bind_cuda_recurrent_residual_conv(module); }
