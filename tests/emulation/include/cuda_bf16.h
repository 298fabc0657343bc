// bfloat16 of the CUDA runtime, on the CPU (tests only).
#pragma once

#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
  uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 value) {
  const uint32_t wide = static_cast<uint32_t>(value.bits) << 16;
  float number = 0;
  std::memcpy(&number, &wide, 4);
  return number;
}
// To nearest, ties to even; every NaN becomes the canonical one.
inline __nv_bfloat16 __float2bfloat16(float number) {
  uint32_t wide = 0;
  std::memcpy(&wide, &number, 4);
  if ((wide & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<uint16_t>((wide + 0x7fff + (wide >> 16 & 1)) >> 16)};
}
