// Products on tensor cores in tf32: 10 bits of mantissa, in which bfloat16 and float16 are exact. From sm_80 on; before
// it the same kernels multiply in float32.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#if !defined(__CUDACC__)
#include "emulation/tensor_core.h"
#endif

namespace spinecore::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
inline constexpr bool has_tf32 = false;
#else
inline constexpr bool has_tf32 = true;
#endif

// To nearest; infinities and NaN stay what they are.
__device__ __forceinline__ float round_to_tf32(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0x1000u) & 0xffffe000u;
  memcpy(&value, &bits, sizeof bits);
  return value;
}

// d += a b for a 16 x 8 and b 8 x 8, by a warp, in the fragments of the PTX ISA.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
  uint32_t left[4], right[2];
  memcpy(left, a, sizeof left);
  memcpy(right, b, sizeof right);
#if !defined(__CUDACC__)
  emulation::mma<8, emulation::MmaType::tf32>(d, left, right);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
#endif
}

}  // namespace spinecore::cuda
