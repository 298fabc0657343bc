// float16 of the CUDA runtime, on the CPU (tests only).
#pragma once

struct __half {
  _Float16 value;
};
inline float __half2float(__half half) { return static_cast<float>(half.value); }
inline __half __float2half(float number) { return {static_cast<_Float16>(number)}; }
