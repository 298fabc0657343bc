// 3x3 convolution, backward: the gradients of x, weights, bias and residual in one pass over the tiles. Arguments:
// spinecore/conv3x3.h.
#include "spinecore/conv3x3.h"

#include "winograd_backward.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// dy where the activation let it pass.
template <class T, bool activated>
struct Gradient {
  const T *dy, *y;

  template <class Access>
  SPINECORE_INLINE auto channel(int64_t, Access access) const {
    return [dy = dy, y = y, access](int64_t offset) {
      const Vec g = access.get(dy + offset);
      if constexpr (activated) return access.get(y + offset) <= splat(0.f) ? Vec{} : g;
      return g;
    };
  }
};

template <class T>
struct StoreInputGradient {
  Image<T> dx;
  Vec* poison;

  template <class Access>
  SPINECORE_INLINE void operator()(const Tile& tile, int64_t c, Access access, Vec (&results)[4][4]) const {
    T* to = dx.pixel(tile.n, tile.y, tile.x) + c;
    each_pixel(tile, access, [&](int i, int j) {
      *poison += not_finite(results[i][j]);
      access.put(to + dx.offset(i, j), results[i][j]);
    });
  }
};

// The gradient as it is read: summed for the bias, and written for the residual.
template <class T>
struct KeepGradient {
  Image<T> d_residual;
  float* sums;

  template <class Access>
  SPINECORE_INLINE void operator()(const Tile& tile, int64_t c, Access access, const Vec (&values)[4][4]) const {
    Vec total{};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) total += (values[i][0] + values[i][1]) + (values[i][2] + values[i][3]);
    access.put(sums + c, access.get(sums + c) + total);
    if (d_residual.data == nullptr) return;
    T* to = d_residual.pixel(tile.n, tile.y, tile.x) + c;
    each_pixel(tile, access, [&](int i, int j) { access.put(to + d_residual.offset(i, j), values[i][j]); });
  }
};

template <class T, bool activated>
bool run(const Conv3x3Backward& a) {
  const BackwardTiles tiles(a.n, a.height, a.width, a.in, a.out);
  const GradientSums shape(a.in, a.out);
  const auto x = Image<const T>::whole(static_cast<const T*>(a.x), a.height, a.width, a.in);
  const auto dx = Image<T>::whole(static_cast<T*>(a.dx), a.height, a.width, a.in);
  const auto d_residual = Image<T>::whole(static_cast<T*>(a.d_residual), a.height, a.width, a.out);
  const Mapped<Gradient<T, activated>> gradient{
      {static_cast<const T*>(a.dy), static_cast<const T*>(a.y)}, a.height, a.width, a.out};
  ReadAhead ahead{{}, a.out * static_cast<int64_t>(sizeof(T)), a.height, a.width, tiles.tiles};
  ahead.add(gradient.map.dy);
  if (activated) ahead.add(gradient.map.y);
  double *parts = reinterpret_cast<double*>(a.workspace), *totals = parts + tiles.parts * a.out;
  float* gradients = reinterpret_cast<float*>(totals + a.out);
  const int64_t own_sums = round_up(a.out, 16);
  bool done = each_unit(
      tiles, tiles.scratch() + own_sums, a.not_finite, [&](int64_t part, int64_t first, int64_t count, float* memory) {
        float* sums = gradients + part * shape.floats();
        if (first == tiles.begin(part)) {
          fill_zero(parts + part * a.out, a.out);
          __builtin_memset(sums, 0, static_cast<size_t>(shape.floats()) * sizeof(float));
        }
        fill_zero(memory, a.out);
        if (a.dx != nullptr) {
          Vec poison{};
          convolve_tiles(a.weights, gradient, tiles.grid, first, count, Block(a.out, a.in, memory + own_sums),
                         StoreInputGradient<T>{dx, &poison}, ahead);
          raise_unless_zero(poison, a.not_finite);
        }
        const GradientBlock block(a.in, a.out, memory + own_sums + Block::floats(a.out, a.in));
        add_weight_gradient(x, gradient, tiles.grid, first, count, block, shape, KeepGradient<T>{d_residual, memory},
                            sums);
        flush_sums(memory, a.out, parts + part * a.out);
      });
  add_parts(parts, tiles.parts, a.out, totals);
  for (int64_t c = 0; c < a.out; ++c) a.d_bias[c] = static_cast<float>(totals[c]);
  if (!all_finite(a.d_bias, a.out)) __atomic_store_n(a.not_finite, 1, __ATOMIC_RELAXED);
  return finish_weight_gradient(shape, gradients, tiles.parts, a.dw, a.not_finite) && done;
}

template <class T>
bool run(const Conv3x3Backward& a) {
  return a.y != nullptr ? run<T, true>(a) : run<T, false>(a);
}

bool backward(const Conv3x3Backward& a) { return a.dtype == DType::bfloat16 ? run<BFloat16>(a) : run<float>(a); }

int64_t workspace(int64_t n, int64_t height, int64_t width, int64_t in, int64_t out) {
  const BackwardTiles tiles(n, height, width, in, out);
  return (tiles.parts + 1) * 2 * out + tiles.sums();
}

}  // namespace

extern const Conv3x3BackwardKernels conv3x3_backward_kernels;
const Conv3x3BackwardKernels conv3x3_backward_kernels{backward, workspace};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
