// The CUDA scSE gate as a Python module that runs on the CPU: the sources of the package, compiled against the
// emulation.
#include "../../../csrc/bindings/bindings.h"

PYBIND11_MODULE(EMULATED_MODULE, module) { spinecore::bind_cuda_scse_gate(module); }
