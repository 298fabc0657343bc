// Recurrent residual convolution in training, backward. Arguments: spinecore/recurrent_residual_conv_bn.h.
//
//   g_k = du_k where u_k > 0;  dz_k = scale g_k + linear z_k + constant   (the gradient of the normalisation)
//   du_{k-1} = conv^T(dz_k, w_rec);  dx = conv^T(sum_k dz_k, w_in) + dy
//
// One pass a step: dz_k is computed where it is read, from g_k and z_k; the pass writes g_{k-1}, takes the two sums
// that dz_{k-1} needs, adds dz_k to the sum over the steps, and adds to the gradient of w_rec in the domain of the
// transform.
#include "recurrence_maps.h"
#include "spinecore/recurrent_residual_conv_bn.h"
#include "winograd_backward.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Per channel; scale and shift are those of the activation.
struct Coefficients {
  float *scale, *shift, *linear, *constant;
};

// g where u > 0
SPINECORE_INLINE Vec gate(Vec g, Vec before) { return before > splat(0.f) ? g : Vec{}; }

// dz of the last step: dy is not yet gated.
template <class T>
struct LastGradient {
  const T *dy, *z;
  Coefficients k;

  template <class Access>
  SPINECORE_INLINE auto channel(int64_t c, Access access) const {
    return [dy = dy, z = z, access, a = access.get(k.scale + c), b = access.get(k.shift + c),
            p = access.get(k.linear + c), q = access.get(k.constant + c)](int64_t offset) {
      const Vec at = access.get(z + offset);
      return a * gate(access.get(dy + offset), a * at + b) + (p * at + q);
    };
  }
};

// dz of the steps before; with `total` the sum of dz over all steps.
template <class T, bool total>
struct StepGradient {
  const T *g, *z, *dd;
  Coefficients k;

  template <class Access>
  SPINECORE_INLINE auto channel(int64_t c, Access access) const {
    return [g = g, z = z, dd = dd, access, a = access.get(k.scale + c), p = access.get(k.linear + c),
            q = access.get(k.constant + c)](int64_t offset) {
      const Vec dz = a * access.get(g + offset) + (p * access.get(z + offset) + q);
      if constexpr (total) return dz + access.get(dd + offset);
      return dz;
    };
  }
};

// Writes g of the step before and sums it, alone and times z less its mean.
template <class T>
struct StoreGated {
  Image<T> g;
  const T* z;
  const float *scale, *shift, *mean;
  float *sums, *products;
  bool streamed;

  template <class Access>
  SPINECORE_INLINE void operator()(const Tile& tile, int64_t c, Access access, Vec (&results)[4][4]) const {
    T* to = g.pixel(tile.n, tile.y, tile.x) + c;
    const T* from = z + (to - g.data);
    const Vec a = access.get(scale + c), b = access.get(shift + c), m = access.get(mean + c);
    Vec total = access.get(sums + c), product = access.get(products + c);
    each_pixel(tile, access, [&](int i, int j) {
      const int64_t at = g.offset(i, j);
      const Vec before = access.get(from + at), value = gate(results[i][j], a * before + b);
      put_result(access, to + at, value, streamed);
      total += value;
      product += value * (before - m);
    });
    access.put(sums + c, total);
    access.put(products + c, product);
  }
};

template <class T>
struct StoreInputGradient {
  Image<T> dx;
  const T* dy;  // or nullptr
  Vec* poison;
  bool streamed;

  template <class Access>
  SPINECORE_INLINE void operator()(const Tile& tile, int64_t c, Access access, Vec (&results)[4][4]) const {
    T* to = dx.pixel(tile.n, tile.y, tile.x) + c;
    each_pixel(tile, access, [&](int i, int j) {
      T* place = to + dx.offset(i, j);
      Vec value = results[i][j];
      *poison += not_finite(value);
      if (dy) value += access.get(dy + (place - dx.data));
      put_result(access, place, value, streamed);
    });
  }
};

// Adds the values of a tile to the sum of dz over the steps, or begins it.
template <class T, bool begins>
struct KeepSum {
  Image<T> dd;
  bool streamed;

  template <class Access>
  SPINECORE_INLINE void operator()(const Tile& tile, int64_t c, Access access, const Vec (&values)[4][4]) const {
    T* to = dd.pixel(tile.n, tile.y, tile.x) + c;
    each_pixel(tile, access, [&](int i, int j) {
      T* place = to + dd.offset(i, j);
      if constexpr (begins) {
        put_result(access, place, values[i][j], streamed);
      } else {
        access.put(place, values[i][j] + access.get(place));
      }
    });
  }
};

template <class T>
struct Backward {
  const RecurrenceBackward& a;
  const RecurrenceGeometry& g;
  const BackwardTiles tiles;
  const GradientSums shape;
  // Workspace: sums of each part, those of all parts, coefficients of two steps, transformed gradients of each part.
  double *parts, *totals;
  Coefficients now, before;
  float* gradients;

  explicit Backward(const RecurrenceBackward& arguments)
      : a(arguments),
        g(a.geometry),
        tiles(g.n, g.height, g.width, g.channels, g.channels),
        shape(g.channels, g.channels) {
    parts = reinterpret_cast<double*>(a.workspace);
    totals = parts + tiles.parts * 2 * g.channels;
    float* next = reinterpret_cast<float*>(totals + 2 * g.channels);
    for (Coefficients* k : {&now, &before}) {
      for (float** part : {&k->scale, &k->shift, &k->linear, &k->constant}) {
        *part = next;
        next += g.channels;
      }
    }
    gradients = next;
  }

  Image<T> image(void* data) const { return Image<T>::whole(static_cast<T*>(data), g.height, g.width, g.channels); }
  const T* z(int64_t k) const { return static_cast<const T*>(a.z[k]); }
  // Gradients of odd steps wait in dx: it is written in the last pass, which reads that of step 0.
  T* gated(int64_t k) const { return static_cast<T*>(k % 2 == 0 ? a.du : a.dx); }
  bool streamed(const void* written) const {
    return tiles_fill_lines<T>(g.channels) &&
           can_stream(static_cast<const T*>(written), g.n * g.height * g.width, g.channels);
  }
  ReadAhead ahead_of(const T* image) const {
    ReadAhead ahead{{}, g.channels * static_cast<int64_t>(sizeof(T)), g.height, g.width, tiles.tiles};
    ahead.add(image);
    return ahead;
  }
  template <class Map>
  Mapped<Map> mapped(Map map) const {
    return {map, g.height, g.width, g.channels};
  }

  void maps(int64_t k, const Coefficients& to) const {
    const int64_t row = k * g.channels;
    affine_map(g.channels, a.weight + row, a.bias + row, a.mean + row, a.inverse_std + row, to.scale, to.shift);
  }

  // From the two sums of step k: the gradients of its normalisation, and what dz_k is made of. False where something is
  // not finite.
  bool normalisation(int64_t k) {
    const int64_t row = k * g.channels;
    add_parts(parts, tiles.parts, 2 * g.channels, totals);
    const double pixels = static_cast<double>(g.n * g.height * g.width);
    for (int64_t c = 0; c < g.channels; ++c) {
      const double total = totals[c], inverse = static_cast<double>(a.inverse_std[row + c]);
      const double product = totals[g.channels + c] * inverse, scale = static_cast<double>(now.scale[c]);
      const double linear = a.batch_statistics ? -scale * inverse * product / pixels : 0.;
      a.d_bias[row + c] = static_cast<float>(total);
      a.d_weight[row + c] = static_cast<float>(product);
      now.linear[c] = static_cast<float>(linear);
      const double constant = -scale * total / pixels - linear * static_cast<double>(a.mean[row + c]);
      now.constant[c] = a.batch_statistics ? static_cast<float>(constant) : 0.f;
    }
    return all_finite(now.scale, 4 * g.channels) && all_finite(a.d_weight + row, g.channels) &&
           all_finite(a.d_bias + row, g.channels);
  }

  // The two sums of the last step, whose du is dy.
  bool first_sums() const {
    const T* dy = static_cast<const T*>(a.dy);
    const int64_t pixels = g.n * g.height * g.width, channels = g.channels;
    const float* mean = a.mean + g.steps * channels;
    constexpr int64_t run = 128;  // pixels, so that both images stay in the first caches
    return parallel_for(0, tiles.parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        double* own = parts + part * 2 * channels;
        fill_zero(own, 2 * channels);
        const int64_t last = pixels * (part + 1) / tiles.parts;
        for (int64_t from = pixels * part / tiles.parts; from < last; from += run) {
          const int64_t count = smaller(run, last - from);
          each_vector(channels, [&](int64_t c, auto access) {
            const Vec k = access.get(now.scale + c), b = access.get(now.shift + c), m = access.get(mean + c);
            Vec total{}, product{};
            for (int64_t i = 0; i < count; ++i) {
              const int64_t at = (from + i) * channels + c;
              const Vec before_relu = access.get(z(g.steps) + at);
              const Vec value = gate(access.get(dy + at), k * before_relu + b);
              total += value;
              product += value * (before_relu - m);
            }
            float sums[2][lanes];
            store(sums[0], total);
            store(sums[1], product);
            for (int64_t lane = 0; lane < smaller(lanes, channels - c); ++lane) {
              own[c + lane] += static_cast<double>(sums[0][lane]);
              own[channels + c + lane] += static_cast<double>(sums[1][lane]);
            }
          });
        }
      }
    });
  }

  void clear_gradients(int64_t part) const {
    __builtin_memset(gradients + part * shape.floats(), 0, static_cast<size_t>(shape.floats()) * sizeof(float));
  }

  // From dz_k to g_{k-1}, its sums, and the gradient of w_rec.
  template <class Map, class Keep>
  bool step_pass(int64_t k, const Map& map, const Keep& keep, ReadAhead ahead) const {
    ahead.add(z(k));
    ahead.add(z(k - 1));
    if (!streamed(gated(k - 1))) ahead.add(gated(k - 1));
    const auto dz = mapped(map);
    const auto u = mapped(Activation<T>{z(k - 1), before.scale, before.shift});
    const int64_t own_sums = round_up(2 * g.channels, 16);
    return each_unit(tiles, tiles.scratch() + own_sums, a.not_finite,
                     [&](int64_t part, int64_t first, int64_t count, float* memory) {
                       double* totals_of_part = parts + part * 2 * g.channels;
                       if (first == tiles.begin(part)) {
                         fill_zero(totals_of_part, 2 * g.channels);
                         if (k == g.steps) clear_gradients(part);
                       }
                       fill_zero(memory, 2 * g.channels);
                       const Block block(g.channels, g.channels, memory + own_sums);
                       const GradientBlock gradient_block(g.channels, g.channels,
                                                          memory + own_sums + Block::floats(g.channels, g.channels));
                       const StoreGated<T> epilogue{
                           image(gated(k - 1)),           z(k - 1), before.scale,        before.shift,
                           a.mean + (k - 1) * g.channels, memory,   memory + g.channels, streamed(gated(k - 1))};
                       with_known_width<16>(g.channels, [&](auto channels) {
                         convolve_tiles(channels, channels, a.w_rec, dz, tiles.grid, first, count, block, epilogue,
                                        ahead);
                       });
                       add_weight_gradient(u, dz, tiles.grid, first, count, gradient_block, shape, keep,
                                           gradients + part * shape.floats());
                       flush_sums(memory, 2 * g.channels, totals_of_part);
                     });
  }

  // From the sum of dz over the steps to dx and the gradient of w_in.
  template <class Map>
  bool input_pass(const Map& map, ReadAhead ahead) const {
    ahead.add(z(0));
    if (!streamed(a.dx)) ahead.add(static_cast<T*>(a.dx));
    if (g.steps > 0) ahead.add(static_cast<T*>(a.dd));
    const auto dz = mapped(map);
    const auto x = Image<const T>::whole(static_cast<const T*>(a.x), g.height, g.width, g.channels);
    return each_unit(
        tiles, tiles.scratch(), a.not_finite, [&](int64_t part, int64_t first, int64_t count, float* memory) {
          if (first == tiles.begin(part)) clear_gradients(part);
          Vec poison{};
          const StoreInputGradient<T> epilogue{image(a.dx), a.residual ? static_cast<const T*>(a.dy) : nullptr, &poison,
                                               streamed(a.dx)};
          const Block block(g.channels, g.channels, memory);
          const GradientBlock gradient_block(g.channels, g.channels, memory + Block::floats(g.channels, g.channels));
          with_known_width<16>(g.channels, [&](auto channels) {
            convolve_tiles(channels, channels, a.w_in, dz, tiles.grid, first, count, block, epilogue, ahead);
          });
          add_weight_gradient(x, dz, tiles.grid, first, count, gradient_block, shape, KeepNothing{},
                              gradients + part * shape.floats());
          raise_unless_zero(poison, a.not_finite);
        });
  }

  bool run() {
    const auto stop = [this] {
      __atomic_store_n(a.not_finite, 1, __ATOMIC_RELAXED);
      return true;
    };
    maps(g.steps, now);
    bool done = first_sums();
    const T* dy = static_cast<const T*>(a.dy);
    for (int64_t k = g.steps; k > 0; --k) {
      if (!normalisation(k)) return stop();
      maps(k - 1, before);
      if (k == g.steps) {
        done &=
            step_pass(k, LastGradient<T>{dy, z(k), now}, KeepSum<T, true>{image(a.dd), streamed(a.dd)}, ahead_of(dy));
      } else {
        done &= step_pass(k, StepGradient<T, false>{gated(k), z(k), nullptr, now},
                          KeepSum<T, false>{image(a.dd), streamed(a.dd)}, ahead_of(gated(k)));
      }
      const Coefficients spare = now;
      now = before;
      before = spare;
    }
    if (!normalisation(0)) return stop();
    if (g.steps > 0) done &= finish_weight_gradient(shape, gradients, tiles.parts, a.dw_rec, a.not_finite);
    if (g.steps == 0) {
      done &= input_pass(LastGradient<T>{dy, z(0), now}, ahead_of(dy));
    } else {
      done &= input_pass(StepGradient<T, true>{gated(0), z(0), static_cast<const T*>(a.dd), now}, ahead_of(gated(0)));
    }
    return finish_weight_gradient(shape, gradients, tiles.parts, a.dw_in, a.not_finite) && done;
  }
};

bool backward(const RecurrenceBackward& a) {
  return a.geometry.dtype == DType::bfloat16 ? Backward<BFloat16>(a).run() : Backward<float>(a).run();
}

int64_t workspace(const RecurrenceGeometry& g) {
  const BackwardTiles tiles(g.n, g.height, g.width, g.channels, g.channels);
  return (tiles.parts + 1) * 4 * g.channels + 8 * g.channels + tiles.sums();
}

}  // namespace

extern const RecurrenceBackwardKernels recurrent_residual_conv_bn_backward_kernels;
const RecurrenceBackwardKernels recurrent_residual_conv_bn_backward_kernels{backward, workspace};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
