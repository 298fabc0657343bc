// The CUDA convolution as a Python module that runs on the CPU.
#include "../../../csrc/bindings/bindings.h"

PYBIND11_MODULE(EMULATED_MODULE, module) { spinecore::bind_cuda_conv3x3(module); }
