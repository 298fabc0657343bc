// The CUDA latent poolings as a Python module that runs on the CPU.
#include "../../../csrc/bindings/bindings.h"

PYBIND11_MODULE(EMULATED_MODULE, module) { spinecore::bind_cuda_latent_pool(module); }
