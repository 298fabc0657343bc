// How many CUDA devices there are, and why there are none.
#include <cuda_runtime_api.h>

#include "spinecore/cuda_device.h"

namespace spinecore {

namespace {

// As people say it: 13020 is 13.2.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

CudaDevices cuda_devices() {
  int driver = 0;  // stays 0 where none is installed
  cudaDriverGetVersion(&driver);
  if (driver == 0) return {0, "no NVIDIA driver is installed"};
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess) return {count, count > 0 ? "" : "the driver reports no CUDA device"};
  cudaGetLastError();  // clears it, so that the next call does not report it again
  if (error == cudaErrorNoDevice) return {0, "the driver reports no CUDA device"};
  if (error == cudaErrorInsufficientDriver) {
    return {0, "the NVIDIA driver is for CUDA " + version_text(driver) + ", older than the CUDA " +
                   version_text(CUDART_VERSION) + " of this build: update the driver"};
  }
  return {0, std::string("CUDA failed with ") + cudaGetErrorName(error) + ": " + cudaGetErrorString(error)};
}

}  // namespace spinecore
