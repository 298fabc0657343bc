// The CUDA dictionary pooling as a Python module that runs on the CPU.
#include "../../../csrc/bindings/bindings.h"

PYBIND11_MODULE(EMULATED_MODULE, module) { spinecore::bind_cuda_dictionary_pool(module); }
