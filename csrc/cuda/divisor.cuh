// Division by a number that a launch knows: a product and a shift (Granlund, Montgomery 1994, figure 4.1).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace spinecore::cuda {

// q = (n + high half of n * multiplier) >> shift, for 0 <= n < 2^31 and value >= 1.
struct Divisor {
  int value;
  uint32_t multiplier;
  int shift;
};

inline Divisor divisor_of(int value) {
  const auto d = static_cast<uint64_t>(value);
  int shift = 0;
  while ((uint64_t{1} << shift) < d) ++shift;
  const uint64_t multiplier = (uint64_t{1} << 32) * ((uint64_t{1} << shift) - d) / d + 1;
  return {value, static_cast<uint32_t>(multiplier), shift};
}

__device__ __forceinline__ int quotient(int n, const Divisor& d) {
  const auto wide = static_cast<uint64_t>(static_cast<uint32_t>(n)) * d.multiplier;
  return static_cast<int>((static_cast<uint32_t>(n) + static_cast<uint32_t>(wide >> 32)) >> d.shift);
}
__device__ __forceinline__ int remainder_of(int n, int quotient, const Divisor& d) { return n - quotient * d.value; }

}  // namespace spinecore::cuda
