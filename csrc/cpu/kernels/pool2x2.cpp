// Pooling of squares of 2 x 2 pixels. Arguments: spinecore/pool2x2.h.
#include "spinecore/pool2x2.h"

#include "spinecore/parallel.h"
#include "spinecore/rows.h"
#include "spinecore/simd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// torch's order: a NaN wins.
SPINECORE_INLINE Vec larger(Vec a, Vec b) {
  const Vec most = a > b ? a : b;
  return a == a ? most : a;
}

template <Pooling pooling>
SPINECORE_INLINE Vec pooled(Vec a, Vec b, Vec c, Vec d) {
  if constexpr (pooling == Pooling::largest) return larger(larger(a, b), larger(c, d));
  return (a + b + c + d) * splat(0.25f);
}

template <Pooling pooling>
bool run_rows(const Pool2x2& a) {
  const int64_t height = a.height / 2, width = a.width / 2, row = a.width * a.channels;
  const int64_t grain = 1 + (int64_t{1} << 15) / (1 + 4 * row);
  return parallel_for(0, a.n * height, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = a.x + (i / height * a.height + i % height * 2) * row;
      float* to = a.y + i * width * a.channels;
      for (int64_t j = 0; j < width; ++j, from += 2 * a.channels, to += a.channels) {
        each_vector(a.channels, [&](int64_t c, auto access) {
          const float* at = from + c;
          access.put(to + c, pooled<pooling>(access.get(at), access.get(at + a.channels), access.get(at + row),
                                             access.get(at + row + a.channels)));
        });
      }
    }
  });
}

bool run(const Pool2x2& a) {
  return a.pooling == Pooling::largest ? run_rows<Pooling::largest>(a) : run_rows<Pooling::mean>(a);
}

}  // namespace

extern const Pool2x2Kernels pool2x2_kernels;
const Pool2x2Kernels pool2x2_kernels{run};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
