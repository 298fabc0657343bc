// 3x3 convolution: the kernels, compiled once per instruction set. Equations and arguments: spinecore/conv3x3.h.
#include "spinecore/conv3x3.h"

#include "spinecore/parallel.h"
#include "spinecore/scratch.h"
#include "winograd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

template <class T>
struct Epilogue {
  Image<T> y;
  const T* residual;
  const float* bias;
  bool relu_after;
  Vec* poison;

  template <class Access>
  SPINECORE_INLINE void operator()(const Tile& tile, int64_t c, Access access, Vec (&results)[4][4]) const {
    const Vec shift = bias ? access.get(bias + c) : Vec{};
    if (residual == nullptr)
      return relu_after ? write<false, true>(tile, c, access, results, shift)
                        : write<false, false>(tile, c, access, results, shift);
    relu_after ? write<true, true>(tile, c, access, results, shift)
               : write<true, false>(tile, c, access, results, shift);
  }

  template <bool adds, bool cuts, class Access>
  SPINECORE_INLINE void write(const Tile& tile, int64_t c, Access access, Vec (&results)[4][4], Vec shift) const {
    const Image<T> to = y;  // of its own: stores might change what lies behind a reference
    T* first = to.pixel(tile.n, tile.y, tile.x) + c;
    const T* added = adds ? residual + (first - to.data) : nullptr;
    Vec total{};
    each_pixel(tile, access, [&](int i, int j) {
      const int64_t offset = to.offset(i, j);
      Vec value = results[i][j] + shift;
      if constexpr (adds) value += access.get(added + offset);
      if constexpr (cuts) value = relu(value);
      total += not_finite(value);
      access.put(first + offset, value);
    });
    *poison += total;
  }
};

template <class T>
bool run(const Conv3x3Forward& a) {
  const auto x = Image<const T>::slice(static_cast<const T*>(a.x), a.height, a.width, a.weights.in, a.x_step);
  const auto y = Image<T>::whole(static_cast<T*>(a.y), a.height, a.width, a.weights.out);
  const TileGrid grid(a.height, a.width);
  const int64_t grain = 1 + (int64_t{1} << 18) / (positions * (1 + a.weights.in * a.weights.out));
  return parallel_for(0, a.n * grid.down * grid.across, grain, [&](int64_t begin, int64_t end) {
    float* memory = thread_scratch(Block::floats(a.weights.in, a.weights.out, a.x_step));
    if (memory == nullptr) {
      __atomic_store_n(a.not_finite, 1, __ATOMIC_RELAXED);  // somebody else has to compute this
      return;
    }
    const Block block(a.weights.in, a.weights.out, a.x_step, memory);
    Vec poison{};
    const Epilogue<T> epilogue{y, static_cast<const T*>(a.residual), a.bias, a.relu, &poison};
    const auto convolve = [&](auto in, auto out) {
      convolve_tiles(in, out, a.weights, x, grid, begin, end - begin, block, epilogue);
    };
    if (a.weights.in == a.weights.out && a.x_step == a.weights.in) {
      with_known_width<16>(a.weights.in, [&](auto width) { convolve(width, width); });
    } else {
      convolve(a.weights.in, a.weights.out);
    }
    raise_unless_zero(poison, a.not_finite);
  });
}

bool forward(const Conv3x3Forward& a) { return a.dtype == DType::bfloat16 ? run<BFloat16>(a) : run<float>(a); }

}  // namespace

extern const Conv3x3Kernels conv3x3_kernels;
const Conv3x3Kernels conv3x3_kernels{forward};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
