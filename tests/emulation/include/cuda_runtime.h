// Stands in for the CUDA runtime where the .cu files of this project are compiled for the CPU (tests only): what they
// use of the language and of the runtime, and nothing else.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "emulation/launch.h"
#include "emulation/memory_ops.h"
#include "emulation/warp_ops.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#if defined(EMULATION_ASAN)
#define __shared__ static  // a global: with a red zone round every array
#else
#define __shared__ static thread_local
#endif

#define warpSize 32
#define __syncthreads() ::emulation::block_barrier(__FILE__, __LINE__)
#define __syncwarp(...) ::emulation::warp_barrier(::emulation::mask_or_all(__VA_ARGS__), __FILE__, __LINE__)
#define __threadfence() ::emulation::fence(__FILE__, __LINE__)
#define __trap() ::emulation::fail("__trap()")
namespace emulation {
inline uint32_t mask_or_all(uint32_t mask = ~0u) { return mask; }
}  // namespace emulation

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
using std::max;
using std::min;
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

using cudaStream_t = void*;
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorInvalidResourceHandle = 400
};
inline const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDeviceFunction:
      return "cudaErrorInvalidDeviceFunction";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
  }
  return "cudaErrorUnknown";
}
inline const char* cudaGetErrorString(cudaError_t) { return "as the emulation answers"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
namespace emulation {
// With EMULATION_STREAM=<address> there is no other stream, nor a default one.
inline bool is_stream(cudaStream_t stream) {
  const char* only = std::getenv("EMULATION_STREAM");
  return only == nullptr || reinterpret_cast<uintptr_t>(stream) == std::strtoull(only, nullptr, 0);
}
}  // namespace emulation
inline cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  if (!emulation::is_stream(stream)) return cudaErrorInvalidResourceHandle;
  std::memset(target, value, bytes);
  return cudaSuccess;
}

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

#if defined(EMULATION_PTX)
#include "emulation/translated.h"
#endif

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... given) {
  const emulation::Index3 grid{config->gridDim.x, config->gridDim.y, config->gridDim.z};
  const emulation::Index3 block{config->blockDim.x, config->blockDim.y, config->blockDim.z};
  if (std::getenv("EMULATION_REFUSES_LAUNCHES") != nullptr) return cudaErrorInvalidConfiguration;
  if (!emulation::is_stream(config->stream)) return cudaErrorInvalidResourceHandle;
#if defined(EMULATION_PTX)
  return emulation::launch_translated<Parameters...>(reinterpret_cast<void*>(kernel), grid, block,
                                                     config->dynamicSmemBytes, given...);
#else
  const std::function<void()> body = [=] { kernel(given...); };
  return emulation::launch(grid, block, config->dynamicSmemBytes, body) ? cudaSuccess : cudaErrorInvalidConfiguration;
#endif
}
