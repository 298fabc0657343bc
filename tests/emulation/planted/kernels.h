// The planted kernels: `out` has 64 * blocks elements and one more for tickets, `in` 64 * blocks.
#pragma once

#include <string>

namespace planted {

inline constexpr unsigned blocks = 4;

// 0, or what CUDA answers; -1 where there is no such kernel.
int launch(const char* name, float* out, const float* in, bool wrong);

}  // namespace planted
