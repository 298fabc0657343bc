// The CUDA devices of this machine, counted without creating a context on any.
#pragma once

#include <string>

namespace spinecore {

struct CudaDevices {
  int count = 0;
  std::string reason;  // why there is none; empty when there is one
};

CudaDevices cuda_devices();

}  // namespace spinecore
