// What this machine can do at best on one thread: multiply-adds out of registers, and reads and copies of memory.
// Benchmarks measure it beside the operators, so that a time can be judged against the limit and not only against
// peers.
#pragma once

#include <cstdint>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

struct MachinePeakKernels {
  int64_t (*fma_burst)(int64_t steps);  // returns the floating-point operations it ran
  float (*read_burst)(const float* x, int64_t length);
  void (*copy_burst)(const float* x, float* y, int64_t length, bool streamed);
};

// The kernels of the selected instruction set.
const MachinePeakKernels& machine_peak_kernels();

// Checked entries. `x` and `y` are vectors; `streamed` writes past the caches.
Status fma_burst(int64_t steps, int64_t* operations);
Status read_burst(const TensorView& x, float* total);
Status copy_burst(const TensorView& x, const TensorView& y, bool streamed);

}  // namespace spinecore
