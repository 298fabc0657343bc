// Products on tensor cores. In tf32: 10 bits of mantissa, in which bfloat16 and float16 are exact; from sm_80 on,
// before it the same kernels multiply in float32. Of the halves as they are: bfloat16 from sm_80, float16 from sm_75
// on.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

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

// Whether products of T are tensor cores' without widening it.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <class T>
inline constexpr bool has_half_products = std::is_same_v<T, __half>;
#else
template <class T>
inline constexpr bool has_half_products = sizeof(T) == 2;
#endif

// Four 8 x 8 matrices of halves from shared memory: lane l names row l % 8 of matrix l / 8, 16 bytes. Lane l gets the
// elements 2 (l % 4) and the next one of row l / 4, or with `transposed` of column l / 4.
template <bool transposed>
__device__ __forceinline__ void load_matrices(uint32_t (&d)[4], const void* row) {
#if !defined(__CUDACC__)
  emulation::ldmatrix<4, transposed>(d, static_cast<const unsigned char*>(row));
#else
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(address)
                 : "memory");
  }
#endif
}

// d += a b for a 16 x 16 and b 16 x 8 of T, by a warp. sm_75 multiplies eight terms at a time; its fragments are the
// halves of these.
template <class T>
__device__ __forceinline__ void mma_halves(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if !defined(__CUDACC__)
  const uint32_t b[2] = {b0, b1};
  constexpr auto type = std::is_same_v<T, __half> ? emulation::MmaType::f16 : emulation::MmaType::bf16;
  emulation::mma<16, type>(d, a, b);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#elif defined(__CUDA_ARCH__)
  const uint32_t b[2] = {b0, b1};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
  }
#endif
}

}  // namespace spinecore::cuda
