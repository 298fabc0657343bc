#include "spinecore/machine_peak.h"

#include "spinecore/rows.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// total + a * b as one instruction. Assembly, because the compiler would see through the constant operands.
SPINECORE_INLINE Vec multiply_add(Vec total, Vec a, Vec b) {
#if defined(__AVX512F__)
  __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(total) : "v"(a), "v"(b));
#elif defined(__FMA__)
  __asm__ volatile("vfmadd231ps %2, %1, %0" : "+x"(total) : "x"(a), "x"(b));
#elif defined(__SSE2__)
  Vec product = a;
  __asm__ volatile("mulps %2, %1\n\taddps %1, %0" : "+x"(total), "+x"(product) : "x"(b));
#else
  total += a * b;
#endif
  return total;
}

// Two multiply-adds a cycle of four cycles' latency need eight chains; twelve leave a margin and fit sixteen registers.
// Each has a name: of an array the compiler keeps a copy in memory.
int64_t fma_burst(int64_t steps) {
  const Vec a = splat(0.5f), b = splat(0.25f);
  Vec t0{}, t1{}, t2{}, t3{}, t4{}, t5{}, t6{}, t7{}, t8{}, t9{}, t10{}, t11{};
  for (int64_t step = 0; step < steps; ++step) {
    t0 = multiply_add(t0, a, b);
    t1 = multiply_add(t1, a, b);
    t2 = multiply_add(t2, a, b);
    t3 = multiply_add(t3, a, b);
    t4 = multiply_add(t4, a, b);
    t5 = multiply_add(t5, a, b);
    t6 = multiply_add(t6, a, b);
    t7 = multiply_add(t7, a, b);
    t8 = multiply_add(t8, a, b);
    t9 = multiply_add(t9, a, b);
    t10 = multiply_add(t10, a, b);
    t11 = multiply_add(t11, a, b);
  }
  volatile float kept = sum(t0 + t1 + t2 + t3 + t4 + t5 + t6 + t7 + t8 + t9 + t10 + t11);
  (void)kept;
  return steps * 12 * lanes * 2;
}

float read_burst(const float* x, int64_t length) {
  constexpr int step = 8 * lanes;
  Vec t0{}, t1{}, t2{}, t3{}, t4{}, t5{}, t6{}, t7{};
  int64_t i = 0;
  for (; i + step <= length; i += step) {
    t0 += load(x + i);
    t1 += load(x + i + lanes);
    t2 += load(x + i + 2 * lanes);
    t3 += load(x + i + 3 * lanes);
    t4 += load(x + i + 4 * lanes);
    t5 += load(x + i + 5 * lanes);
    t6 += load(x + i + 6 * lanes);
    t7 += load(x + i + 7 * lanes);
  }
  float rest = 0;
  for (; i < length; ++i) rest += x[i];
  return sum(t0 + t1 + t2 + t3 + t4 + t5 + t6 + t7) + rest;
}

template <class Access>
SPINECORE_INLINE void copy(const float* x, float* y, int64_t length) {
  constexpr int step = 4;
  int64_t i = 0;
  for (; i + step * lanes <= length; i += step * lanes) {
#pragma GCC unroll 4
    for (int k = 0; k < step; ++k) Access{}.put(y + i + k * lanes, load(x + i + k * lanes));
  }
  for (; i < length; ++i) y[i] = x[i];
}

void copy_burst(const float* x, float* y, int64_t length, bool streamed) {
  // Streamed stores want vectors in their places; up to there and without them, plain ones.
  int64_t before = 0;
  while (before < length && reinterpret_cast<uintptr_t>(y + before) % sizeof(Vec) != 0) {
    y[before] = x[before];
    ++before;
  }
  if (streamed) {
    copy<Streamed>(x + before, y + before, length - before);
    end_stream();
  } else {
    copy<Whole>(x + before, y + before, length - before);
  }
}

}  // namespace

extern const MachinePeakKernels machine_peak_kernels;
const MachinePeakKernels machine_peak_kernels{fma_burst, read_burst, copy_burst};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
