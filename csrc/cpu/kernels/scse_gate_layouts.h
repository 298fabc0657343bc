// scSE gate: what is done to one chunk of pixels, in either memory layout. Equations: spinecore/scse_gate.h.
//
// Each layout has the same four functions: `reduce` reads x and leaves channel sums and spatial gates, `apply` writes
// y; `reduce_gradients` reads x and dy and leaves everything a sum is needed for, `apply_gradients` writes dx.
#pragma once

#include "spinecore/rows.h"
#include "spinecore/scse_gate.h"
#include "spinecore/simd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

constexpr int64_t most_chunk_pixels = 4096;  // of scse_gate_geometry

// ---- the two ways of combining the gates --------------------------------------------------------------------------
// Comparisons are written so that a NaN gate gives NaN, and gradients follow torch.maximum: half to each gate where
// they are equal, and all of it to both where one is NaN.
template <GateMode mode>
SPINECORE_INLINE Vec combine(Vec channel, Vec spatial) {
  if constexpr (mode == GateMode::add) return channel + spatial;
  const Vec larger = channel > spatial ? channel : spatial;
  return channel == channel ? larger : channel;
}

template <GateMode mode>
SPINECORE_INLINE Vec gradient_share(Vec gradient, Vec own, Vec other) {
  if constexpr (mode == GateMode::add) return gradient;
  const Vec share = own == other ? gradient * 0.5f : gradient;
  return own < other ? splat(0.f) : share;
}

// ---- channels-last: rows of channels, one a pixel -----------------------------------------------------------------
// `lanes` pixels at a time, so that their dot products end as the lanes of one vector; fewer at the end of a chunk.
template <class Body>
SPINECORE_INLINE void each_pixel_block(int64_t pixels, const Body& body) {
  int64_t p = 0;
  for (; p + lanes <= pixels; p += lanes) body(p, Whole{}, std::integral_constant<int, lanes>{});
  if (p < pixels) body(p, Partial{pixels - p}, static_cast<int>(pixels - p));
}

// Long rows are read from front to end, a group of vectors at a time: what is read in the order of its addresses comes
// from memory sooner than the same rows column by column. Short rows leave too few independent sums for that.
constexpr int64_t wide_row = 4 * lanes;
constexpr int group_vectors = lanes == 8 ? 4 : 8;  // sums that fit into registers; AVX2 has 16 of them

template <int vectors, class Body>
SPINECORE_INLINE int64_t each_group_of(int64_t c, int64_t length, const Body& body) {
  for (; c + vectors * lanes <= length; c += vectors * lanes) {
    body(c, std::integral_constant<int, vectors>{}, Whole{});
  }
  if constexpr (vectors > 1) return each_group_of<vectors / 2>(c, length, body);
  return c;
}
template <class Body>
SPINECORE_INLINE void each_vector_group(int64_t length, const Body& body) {
  const int64_t c = each_group_of<group_vectors>(0, length, body);
  if (c < length) body(c, std::integral_constant<int, 1>{}, Partial{length - c});
}

template <class Body, int... v>
SPINECORE_INLINE void unroll(const Body& body, std::integer_sequence<int, v...>) {
  (body(std::integral_constant<int, v>{}), ...);
}
template <int vectors, class Body>
SPINECORE_INLINE void unrolled(const Body& body) {
  unroll(body, std::make_integer_sequence<int, vectors>());
}

template <int vectors, class Access>
SPINECORE_INLINE void add_to(float* to, const Vec (&total)[vectors], const Access& access) {
  unrolled<vectors>([&](auto v) { access.put(to + v * lanes, access.get(to + v * lanes) + total[v]); });
}

template <class T>
struct ChannelsLast {
  // Channel sums of the chunk, and its spatial gates.
  static void reduce(const ScseGateForward& a, const T* x, int64_t pixels, float* sums, float* spatial) {
    fill_zero(sums, a.geometry.c);
    with_constant_length<16, 32, 64>(a.geometry.c,
                                     [&](auto channels) { reduce_rows(a, x, pixels, channels, sums, spatial); });
  }

  template <class Channels>
  SPINECORE_INLINE static void reduce_rows(const ScseGateForward& a, const T* x, int64_t pixels, Channels channels,
                                           float* sums, float* spatial) {
    const float* ws = a.parameters.ws;
    each_pixel_block(pixels, [&](int64_t p, auto pixel_access, auto pixels_of_block) {
      [[maybe_unused]] const int count = pixels_of_block;
      Vec score[lanes] = {};
      const T* rows = x + p * channels;
      each_vector(channels, [&](int64_t c, auto access) {
        const Vec weight = access.get(ws + c);
        Vec total{}, total_odd{};
#pragma GCC unroll 16
        for (int i = 0; i < count; ++i) {
          const Vec value = access.get(rows + i * channels + c);
          (i % 2 ? total_odd : total) += value;
          score[i] += value * weight;
        }
        access.put(sums + c, access.get(sums + c) + (total + total_odd));
      });
      pixel_access.put(spatial + p, sigmoid(sum_rows(score) + a.bs));
    });
  }

  template <GateMode mode, class Access>
  static void apply(const ScseGateForward& a, const T* x, int64_t pixels, const float* channel, const float* spatial,
                    T* __restrict y) {
    with_constant_length<16, 32, 64>(a.geometry.c, [&](auto channels) {
      for (int64_t p = pixels; p-- > 0;) {
        const Vec s = splat(spatial[p]);
        const T* from = x + p * channels;
        T* __restrict to = y + p * channels;
        each_vector<Access>(channels, [&](int64_t c, auto access) {
          access.put(to + c, access.get(from + c) * combine<mode>(access.get(channel + c), s));
        });
      }
    });
  }

  // Of `count` pixels: the sums over channels of what reaches the spatial gate, a lane a pixel; what reaches the
  // channel gates is added to d_gate.
  template <GateMode mode, class Count>
  SPINECORE_INLINE static Vec products_by_column(const T* rows, const T* gradients, int64_t channels, Count count,
                                                 const float* channel, const float* spatial, float* d_gate) {
    Vec to_spatial[lanes] = {};
    const int pixels = count;
    each_vector(channels, [&](int64_t c, auto access) {
      const Vec gate = access.get(channel + c);
      Vec total{}, total_odd{};
#pragma GCC unroll 16
      for (int i = 0; i < pixels; ++i) {
        const Vec product = access.get(rows + i * channels + c) * access.get(gradients + i * channels + c);
        const Vec s = splat(spatial[i]);
        (i % 2 ? total_odd : total) += gradient_share<mode>(product, gate, s);
        to_spatial[i] += gradient_share<mode>(product, s, gate);
      }
      access.put(d_gate + c, access.get(d_gate + c) + (total + total_odd));
    });
    return sum_rows(to_spatial);
  }

  template <GateMode mode>
  SPINECORE_INLINE static Vec products_by_row(const T* rows, const T* gradients, int64_t channels, int count,
                                              const float* channel, const float* spatial, float* d_gate) {
    Vec to_spatial[lanes] = {};
    each_vector_group(channels, [&](int64_t c, auto vectors, auto access) {
      Vec total[vectors] = {};
      const T *row = rows + c, *gradient = gradients + c;
      for (int i = 0; i < count; ++i, row += channels, gradient += channels) {
        const Vec s = splat(spatial[i]);
        Vec of_row{};
        unrolled<vectors>([&](auto v) {
          const Vec product = access.get(row + v * lanes) * access.get(gradient + v * lanes);
          const Vec gate = access.get(channel + c + v * lanes);
          total[v] += gradient_share<mode>(product, gate, s);
          of_row += gradient_share<mode>(product, s, gate);
        });
        to_spatial[i] += of_row;
      }
      add_to(d_gate + c, total, access);
    });
    return sum_rows(to_spatial);
  }

  // dws += the sum of the rows, each times its score.
  template <class Count>
  SPINECORE_INLINE static void weigh_by_column(const T* rows, int64_t channels, Count count, const float* d_score,
                                               float* dws) {
    const int pixels = count;
    each_vector(channels, [&](int64_t c, auto access) {
      Vec total{}, total_odd{};
#pragma GCC unroll 16
      for (int i = 0; i < pixels; ++i) {
        (i % 2 ? total_odd : total) += d_score[i] * access.get(rows + i * channels + c);
      }
      access.put(dws + c, access.get(dws + c) + (total + total_odd));
    });
  }

  SPINECORE_INLINE static void weigh_by_row(const T* rows, int64_t channels, int count, const float* d_score,
                                            float* dws) {
    each_vector_group(channels, [&](int64_t c, auto vectors, auto access) {
      Vec total[vectors] = {};
      const T* row = rows + c;
      for (int i = 0; i < count; ++i, row += channels) {
        const Vec factor = splat(d_score[i]);
        unrolled<vectors>([&](auto v) { total[v] += factor * access.get(row + v * lanes); });
      }
      add_to(dws + c, total, access);
    });
  }

  template <GateMode mode>
  static void reduce_gradients(const ScseGateBackward& a, const T* x, const T* dy, int64_t pixels, const float* channel,
                               const float* spatial, float* d_score, float* d_gate, float* dws, float* dbs) {
    fill_zero(d_gate, a.geometry.c);
    fill_zero(dws, a.geometry.c);
    Vec bias{};
    with_constant_length<16, 32, 64>(a.geometry.c, [&](auto channels) {
      each_pixel_block(pixels, [&](int64_t p, auto pixel_access, auto pixels_of_block) {
        [[maybe_unused]] const int count = pixels_of_block;
        const T *rows = x + p * channels, *gradients = dy + p * channels;
        const bool by_row = channels >= wide_row;
        const Vec to_spatial =
            by_row ? products_by_row<mode>(rows, gradients, channels, pixels_of_block, channel, spatial + p, d_gate)
                   : products_by_column<mode>(rows, gradients, channels, pixels_of_block, channel, spatial + p, d_gate);
        const Vec s = pixel_access.get(spatial + p);
        const Vec score = to_spatial * (s * (1.f - s));
        pixel_access.put(d_score + p, score);
        bias += score;
        if (by_row) {
          weigh_by_row(rows, channels, pixels_of_block, d_score + p, dws);
        } else {
          weigh_by_column(rows, channels, pixels_of_block, d_score + p, dws);
        }
      });
    });
    *dbs = sum(bias);
  }

  template <GateMode mode, class Access>
  static void apply_gradients(const ScseGateBackward& a, const T* dy, int64_t pixels, const float* channel,
                              const float* spatial, const float* d_score, const float* d_mean, T* __restrict dx) {
    const float* ws = a.parameters.ws;
    with_constant_length<16, 32, 64>(a.geometry.c, [&](auto channels) {
      for (int64_t p = pixels; p-- > 0;) {
        const Vec s = splat(spatial[p]), score = splat(d_score[p]);
        const T* from = dy + p * channels;
        T* __restrict to = dx + p * channels;
        each_vector<Access>(channels, [&](int64_t c, auto access) {
          const Vec gated = access.get(from + c) * combine<mode>(access.get(channel + c), s);
          access.put(to + c, gated + (score * access.get(ws + c) + access.get(d_mean + c)));
        });
      }
    });
  }
};

// ---- NCHW: planes of pixels, one a channel ------------------------------------------------------------------------
template <class T>
struct Planes {
  static void reduce(const ScseGateForward& a, const T* x, int64_t pixels, float* sums, float* spatial) {
    const int64_t plane = a.geometry.p;
    alignas(64) float score[most_chunk_pixels];
    fill_zero(score, pixels);
    for (int64_t c = 0; c < a.geometry.c; ++c) {
      const float weight = a.parameters.ws[c];
      const T* row = x + c * plane;
      Vec total[4] = {};
      int64_t p = 0;
      for (; p + 4 * lanes <= pixels; p += 4 * lanes) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const Vec value = load(row + p + i * lanes);
          total[i] += value;
          store(score + p + i * lanes, load(score + p + i * lanes) + weight * value);
        }
      }
      each_vector(pixels - p, [&](int64_t i, auto access) {
        const Vec value = access.get(row + p + i);
        total[0] += value;
        access.put(score + p + i, access.get(score + p + i) + weight * value);
      });
      sums[c] = sum((total[0] + total[1]) + (total[2] + total[3]));
    }
    each_vector(pixels,
                [&](int64_t p, auto access) { access.put(spatial + p, sigmoid(access.get(score + p) + a.bs)); });
  }

  template <GateMode mode, class Access>
  static void apply(const ScseGateForward& a, const T* x, int64_t pixels, const float* channel, const float* spatial,
                    T* __restrict y) {
    const int64_t plane = a.geometry.p;
    for (int64_t c = a.geometry.c; c-- > 0;) {
      const Vec gate = splat(channel[c]);
      const T* from = x + c * plane;
      T* to = y + c * plane;
      each_vector<Access>(pixels, [&](int64_t p, auto access) {
        access.put(to + p, access.get(from + p) * combine<mode>(gate, access.get(spatial + p)));
      });
    }
  }

  template <GateMode mode>
  static void reduce_gradients(const ScseGateBackward& a, const T* x, const T* dy, int64_t pixels, const float* channel,
                               const float* spatial, float* d_score, float* d_gate, float* dws, float* dbs) {
    const int64_t plane = a.geometry.p;
    alignas(64) float to_spatial[most_chunk_pixels];
    fill_zero(to_spatial, pixels);
    for (int64_t c = 0; c < a.geometry.c; ++c) {
      const Vec gate = splat(channel[c]);
      const T *row = x + c * plane, *gradients = dy + c * plane;
      Vec total[4] = {};
      const auto step = [&](int64_t p, Vec& to, auto access) {
        const Vec product = access.get(row + p) * access.get(gradients + p), s = access.get(spatial + p);
        to += gradient_share<mode>(product, gate, s);
        access.put(to_spatial + p, access.get(to_spatial + p) + gradient_share<mode>(product, s, gate));
      };
      int64_t p = 0;
      for (; p + 4 * lanes <= pixels; p += 4 * lanes) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) step(p + i * lanes, total[i], Whole{});
      }
      each_vector(pixels - p, [&](int64_t i, auto access) { step(p + i, total[0], access); });
      d_gate[c] = sum((total[0] + total[1]) + (total[2] + total[3]));
    }
    Vec bias{};
    each_vector(pixels, [&](int64_t p, auto access) {
      const Vec s = access.get(spatial + p);
      const Vec score = access.get(to_spatial + p) * (s * (1.f - s));
      access.put(d_score + p, score);
      bias += score;
    });
    *dbs = sum(bias);
    for (int64_t c = 0; c < a.geometry.c; ++c) {
      const T* row = x + c * plane;
      Vec total[4] = {};
      int64_t p = 0;
      for (; p + 4 * lanes <= pixels; p += 4 * lanes) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) total[i] += load(d_score + p + i * lanes) * load(row + p + i * lanes);
      }
      each_vector(pixels - p,
                  [&](int64_t i, auto access) { total[0] += access.get(d_score + p + i) * access.get(row + p + i); });
      dws[c] = sum((total[0] + total[1]) + (total[2] + total[3]));
    }
  }

  template <GateMode mode, class Access>
  static void apply_gradients(const ScseGateBackward& a, const T* dy, int64_t pixels, const float* channel,
                              const float* spatial, const float* d_score, const float* d_mean, T* __restrict dx) {
    const int64_t plane = a.geometry.p;
    for (int64_t c = a.geometry.c; c-- > 0;) {
      const Vec gate = splat(channel[c]), weight = splat(a.parameters.ws[c]), mean = splat(d_mean[c]);
      const T* from = dy + c * plane;
      T* to = dx + c * plane;
      each_vector<Access>(pixels, [&](int64_t p, auto access) {
        const Vec gated = access.get(from + p) * combine<mode>(gate, access.get(spatial + p));
        access.put(to + p, gated + (access.get(d_score + p) * weight + mean));
      });
    }
  }
};

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
