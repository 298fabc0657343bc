// Reads "major minor threads registers shared" lines, answers the share of a multiprocessor's threads that can be
// resident: NVIDIA's own calculator, which needs no device. Limits of the devices: CUDA C++ Programming Guide, table
// "Technical Specifications per Compute Capability".
#include <cuda_occupancy.h>

#include <cstdio>

int main() {
  const struct {
    int major, minor, threads, shared;
  } limits[] = {{7, 5, 1024, 64},  {8, 0, 2048, 164},  {8, 6, 1536, 100}, {8, 9, 1536, 100},
                {9, 0, 2048, 228}, {10, 0, 2048, 228}, {12, 0, 1536, 100}};
  int major = 0, minor = 0, threads = 0, registers = 0, shared = 0;
  while (std::scanf("%d %d %d %d %d", &major, &minor, &threads, &registers, &shared) == 5) {
    for (const auto& limit : limits) {
      if (limit.major != major || limit.minor != minor) continue;
      cudaOccDeviceProp device;
      device.computeMajor = major;
      device.computeMinor = minor;
      device.maxThreadsPerBlock = 1024;
      device.maxThreadsPerMultiprocessor = limit.threads;
      device.regsPerBlock = device.regsPerMultiprocessor = 65536;
      device.warpSize = 32;
      device.sharedMemPerBlock = 49152;
      device.sharedMemPerMultiprocessor = static_cast<size_t>(limit.shared) * 1024;
      device.numSms = 1;
      device.reservedSharedMemPerBlock = major >= 8 ? 1024 : 0;
      device.sharedMemPerBlockOptin = device.sharedMemPerMultiprocessor - device.reservedSharedMemPerBlock;
      cudaOccFuncAttributes kernel;
      kernel.maxThreadsPerBlock = threads;
      kernel.numRegs = registers;
      kernel.sharedSizeBytes = static_cast<size_t>(shared);
      kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
      kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
      kernel.maxDynamicSharedSizeBytes = 0;
      kernel.numBlockBarriers = 1;
      const cudaOccDeviceState state;
      cudaOccResult result;
      const auto error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, 0);
      if (error != CUDA_OCC_SUCCESS) return 1;
      std::printf("%.4f\n", static_cast<double>(result.activeBlocksPerMultiprocessor) * threads / limit.threads);
    }
  }
  return 0;
}
