// Sixteen bytes from global to shared memory past the registers: cp.async, from sm_80 on.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace spinecore::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
inline constexpr bool has_async_copy = false;
#else
inline constexpr bool has_async_copy = true;
#endif

// Zeros where `from` is null. What arrives may be read after wait_copies and a barrier.
__device__ __forceinline__ void copy_async(void* to, const void* from) {
#if !defined(__CUDACC__)
  emulation::copy_async(to, from, 16);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto target = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = from != nullptr ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(from), "r"(bytes) : "memory");
#endif
}

// Ends a group of this thread's copies.
__device__ __forceinline__ void commit_copies() {
#if !defined(__CUDACC__)
  emulation::commit_copies();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Until at most the last `pending` groups of this thread are under way.
#if !defined(__CUDACC__)
template <int pending>
void wait_copies(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  emulation::wait_copies(pending, {file, line});
}
#else
template <int pending>
__device__ __forceinline__ void wait_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}
#endif

}  // namespace spinecore::cuda
