// cp.async and dynamic shared memory for the planted kernels, on a GPU and on the emulation.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace planted {

#if defined(__CUDACC__)
__device__ inline void copy_async(float* to, const float* from) {
  const auto target = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(target), "l"(from) : "memory");
}
__device__ inline void commit_async() { asm volatile("cp.async.commit_group;" ::: "memory"); }
__device__ inline void wait_async() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }
__device__ inline float* dynamic_floats() {
  extern __shared__ float values[];
  return values;
}
#else
inline void copy_async(float* to, const float* from) { emulation::copy_async(to, from, 4); }
inline void commit_async() { emulation::commit_copies(); }
inline void wait_async() { emulation::wait_copies(0); }
inline float* dynamic_floats() { return reinterpret_cast<float*>(emulation::worker->dynamic_shared.data()); }
#endif

}  // namespace planted
