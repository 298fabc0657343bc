// 1x1 convolution: the kernels, compiled once per instruction set. Equations and arguments: spinecore/conv1x1.h.
#include "spinecore/conv1x1.h"

#include "pointwise.h"
#include "spinecore/parallel.h"
#include "spinecore/scratch.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

template <class T>
bool run(const Conv1x1Forward& a) {
  pack_panels({a.w, a.in, a.out, a.workspace});
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  const int64_t grain = 1 + (int64_t{1} << 17) / (1 + a.in * a.out), wide = round_up(block_pixels * a.in, lanes);
  return parallel_for(0, a.pixels, grain, [&](int64_t begin, int64_t end) {
    float *memory = nullptr, *results = nullptr;
    if (a.dtype != DType::float32) {
      memory = thread_scratch(wide + product_scratch(a.out));
      if (memory == nullptr) return __atomic_store_n(a.no_memory, 1, __ATOMIC_RELAXED);
      results = memory + wide;
    }
    BlockProduct product(a.in, a.out, a.workspace, a.bias);
    for (int64_t i = begin; i < end; i += block_pixels) {
      const int64_t count = smaller(block_pixels, end - i);
      product.run(as_floats(x + i * a.in, count * a.in, memory), count, y + i * a.out, results);
    }
  });
}

bool forward(const Conv1x1Forward& a) { return a.dtype == DType::bfloat16 ? run<BFloat16>(a) : run<float>(a); }

}  // namespace

extern const Conv1x1Kernels conv1x1_kernels;
const Conv1x1Kernels conv1x1_kernels{forward, packed_floats};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
