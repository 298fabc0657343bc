// scSE gate: the kernels, compiled once per instruction set. Equations and arguments: spinecore/scse_gate.h.
//
// The gate costs a few operations an element, so memory traffic is everything: two reads and one write forward, three
// reads and one write backward. A first pass takes channel sums and spatial dot products in one read; a small
// perceptron gives the channel gates; a second pass applies both, backwards, because the end of x is what the caches
// still hold.
#include "spinecore/scse_gate.h"

#include "scse_gate_layouts.h"
#include "spinecore/parallel.h"
#include "spinecore/rows.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Where the images of a call are larger, its result goes past the caches: fresh memory is seldom in them, and fetching
// it to be overwritten takes the room and the traffic of x.
constexpr int64_t streaming_bytes = 8 << 20;
constexpr int64_t group_elements = 512 << 10;  // samples whose passes run together
constexpr int64_t task_elements = 64 << 10;    // least work worth a thread

// ---- the perceptron of the channel gate ---------------------------------------------------------------------------
void channel_gate_forward(const ScseGateForward& a, int64_t n, const float* partial, float* hidden) {
  const auto& g = a.geometry;
  float* pooled = a.pooled + n * g.c;
  float* gate = a.channel_gate + n * g.c;
  sum_partials(partial, g.chunks, g.c, 1. / static_cast<double>(g.p > 0 ? g.p : 1), pooled);
  for (int64_t r = 0; r < g.reduced; ++r) {
    const float before = a.parameters.b1[r] + dot(a.parameters.w1 + r * g.c, pooled, g.c);
    hidden[r] = before <= 0.f ? 0.f : before;
  }
  for (int64_t c = 0; c < g.c; ++c)
    gate[c] = a.parameters.b2[c] + dot(a.parameters.w2 + c * g.reduced, hidden, g.reduced);
  each_vector(g.c, [&](int64_t i, auto access) { access.put(gate + i, sigmoid(access.get(gate + i))); });
}

// Workspace of the backward, cut into its parts.
struct BackwardParts {
  float *d_score, *partial_gate, *partial_ws, *partial_bs, *d_excite, *hidden, *d_hidden, *d_mean, *dws, *dbs;

  explicit BackwardParts(const ScseGateBackward& a) {
    const auto& g = a.geometry;
    float* next = a.workspace;
    const auto take = [&next](int64_t count) {
      float* part = next;
      next += count;
      return part;
    };
    d_score = take(g.n * g.p);  // gradient of the spatial gate before its sigmoid
    partial_gate = take(g.n * g.chunks * g.c);
    partial_ws = take(g.n * g.chunks * g.c);
    partial_bs = take(g.n * g.chunks);
    d_excite = take(g.n * g.c);  // gradient of the channel gate before its sigmoid
    hidden = take(g.n * g.reduced);
    d_hidden = take(g.n * g.reduced);
    d_mean = take(g.n * g.c);  // gradient of the channel mean, over the number of pixels
    dws = take(g.n * g.c);
    dbs = take(g.n);
  }
};

void channel_gate_backward(const ScseGateBackward& a, const BackwardParts& w, int64_t n) {
  const auto& g = a.geometry;
  const auto& weights = a.parameters;
  const float *gate = a.channel_gate + n * g.c, *pooled = a.pooled + n * g.c;
  float *d_excite = w.d_excite + n * g.c, *hidden = w.hidden + n * g.reduced, *d_hidden = w.d_hidden + n * g.reduced;
  float* d_mean = w.d_mean + n * g.c;
  sum_partials(w.partial_gate + n * g.chunks * g.c, g.chunks, g.c, 1., d_excite);
  sum_partials(w.partial_ws + n * g.chunks * g.c, g.chunks, g.c, 1., w.dws + n * g.c);
  sum_partials(w.partial_bs + n * g.chunks, g.chunks, 1, 1., w.dbs + n);
  for (int64_t c = 0; c < g.c; ++c) d_excite[c] *= gate[c] * (1.f - gate[c]);
  fill_zero(d_hidden, g.reduced);
  for (int64_t c = 0; c < g.c; ++c) add_scaled(d_hidden, d_excite[c], weights.w2 + c * g.reduced, g.reduced);
  fill_zero(d_mean, g.c);
  for (int64_t r = 0; r < g.reduced; ++r) {
    const float before = weights.b1[r] + dot(weights.w1 + r * g.c, pooled, g.c);
    hidden[r] = before <= 0.f ? 0.f : before;
    if (before <= 0.f) d_hidden[r] = 0.f;
    add_scaled(d_mean, d_hidden[r] / static_cast<float>(g.p > 0 ? g.p : 1), weights.w1 + r * g.c, g.c);
  }
}

// Sums of the samples' outer products, each row by one thread and over the samples in order.
bool parameter_gradients(const ScseGateBackward& a, const BackwardParts& w) {
  const auto& g = a.geometry;
  sum_partials(w.dws, g.n, g.c, 1., a.dws);
  sum_partials(w.dbs, g.n, 1, 1., a.dbs);
  sum_partials(w.d_excite, g.n, g.c, 1., a.db2);
  sum_partials(w.d_hidden, g.n, g.reduced, 1., a.db1);
  const int64_t grain = 1 + task_elements / (1 + g.n * (g.c + g.reduced));
  bool done = parallel_for(0, g.c, grain, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      float* row = a.dw2 + c * g.reduced;
      fill_zero(row, g.reduced);
      for (int64_t n = 0; n < g.n; ++n) add_scaled(row, w.d_excite[n * g.c + c], w.hidden + n * g.reduced, g.reduced);
    }
  });
  done &= parallel_for(0, g.reduced, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* row = a.dw1 + r * g.c;
      fill_zero(row, g.c);
      for (int64_t n = 0; n < g.n; ++n) add_scaled(row, w.d_hidden[n * g.reduced + r], a.pooled + n * g.c, g.c);
    }
  });
  return done;
}

// ---- the passes over chunks ---------------------------------------------------------------------------------------
// The chunk `index` of the whole batch: its sample, its first pixel and how many it has, its first element.
struct Chunk {
  int64_t sample, first, pixels, offset;

  Chunk(const ScseGateGeometry& g, int64_t index) {
    sample = index / g.chunks;
    first = index % g.chunks * g.chunk_pixels;
    pixels = smaller(g.chunk_pixels, g.p - first);
    offset = sample * g.c * g.p + (g.channels_last ? first * g.c : first);
  }
};

// Whether to write the result past the caches; `images` of its size are read and written.
template <class T>
bool can_stream(const ScseGateGeometry& g, int64_t images, const T* result) {
  const int64_t row = g.channels_last ? g.c : g.p;
  const bool aligned = reinterpret_cast<uintptr_t>(result) % (lanes * sizeof(T)) == 0 && row % lanes == 0;
  return aligned && images * g.n * g.c * g.p * static_cast<int64_t>(sizeof(T)) >= streaming_bytes;
}

// Calls body(first sample, end) for groups of samples small enough that a second pass finds them in the caches.
template <class Body>
bool each_group(const ScseGateGeometry& g, const Body& body) {
  const int64_t group = 1 + group_elements / (1 + g.c * g.p);
  bool done = true;
  for (int64_t n = 0; n < g.n; n += group) done &= body(n, smaller(n + group, g.n));
  return done;
}

template <class T, class Layout, GateMode mode>
bool run_forward(const ScseGateForward& a) {
  const auto& g = a.geometry;
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  float *partial = a.workspace, *hidden = partial + g.n * g.chunks * g.c;
  const bool streamed = can_stream(g, 2, y);
  const int64_t grain = 1 + task_elements / (1 + g.chunk_pixels * g.c),
                small_grain = 1 + task_elements / (1 + 2 * g.c * g.reduced);
  return each_group(g, [&](int64_t first, int64_t end) {
    bool done = parallel_for(first * g.chunks, end * g.chunks, grain, [&](int64_t begin, int64_t stop) {
      for (int64_t i = begin; i < stop; ++i) {
        const Chunk k(g, i);
        Layout::reduce(a, x + k.offset, k.pixels, partial + i * g.c, a.spatial_gate + k.sample * g.p + k.first);
      }
    });
    done &= parallel_for(first, end, small_grain, [&](int64_t begin, int64_t stop) {
      for (int64_t n = begin; n < stop; ++n) {
        channel_gate_forward(a, n, partial + n * g.chunks * g.c, hidden + n * g.reduced);
      }
    });
    done &= parallel_for(first * g.chunks, end * g.chunks, grain, [&](int64_t begin, int64_t stop) {
      for (int64_t i = stop; i-- > begin;) {
        const Chunk k(g, i);
        const float *channel = a.channel_gate + k.sample * g.c, *spatial = a.spatial_gate + k.sample * g.p + k.first;
        if (streamed) {
          Layout::template apply<mode, Streamed>(a, x + k.offset, k.pixels, channel, spatial, y + k.offset);
        } else {
          Layout::template apply<mode, Whole>(a, x + k.offset, k.pixels, channel, spatial, y + k.offset);
        }
      }
      end_stream();
    });
    return done;
  });
}

template <class T, class Layout, GateMode mode>
bool run_backward(const ScseGateBackward& a) {
  const auto& g = a.geometry;
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(a.dy);
  T* dx = static_cast<T*>(a.dx);
  const BackwardParts w(a);
  const bool streamed = can_stream(g, 3, dx);
  const int64_t grain = 1 + task_elements / (1 + g.chunk_pixels * g.c),
                small_grain = 1 + task_elements / (1 + 4 * g.c * g.reduced);
  bool done = each_group(g, [&](int64_t first, int64_t end) {
    bool group_done = parallel_for(first * g.chunks, end * g.chunks, grain, [&](int64_t begin, int64_t stop) {
      for (int64_t i = begin; i < stop; ++i) {
        const Chunk k(g, i);
        const int64_t pixel = k.sample * g.p + k.first;
        Layout::template reduce_gradients<mode>(
            a, x + k.offset, dy + k.offset, k.pixels, a.channel_gate + k.sample * g.c, a.spatial_gate + pixel,
            w.d_score + pixel, w.partial_gate + i * g.c, w.partial_ws + i * g.c, w.partial_bs + i);
      }
    });
    group_done &= parallel_for(first, end, small_grain, [&](int64_t begin, int64_t stop) {
      for (int64_t n = begin; n < stop; ++n) channel_gate_backward(a, w, n);
    });
    group_done &= parallel_for(first * g.chunks, end * g.chunks, grain, [&](int64_t begin, int64_t stop) {
      for (int64_t i = stop; i-- > begin;) {
        const Chunk k(g, i);
        const int64_t pixel = k.sample * g.p + k.first;
        const float *channel = a.channel_gate + k.sample * g.c, *mean = w.d_mean + k.sample * g.c;
        if (streamed) {
          Layout::template apply_gradients<mode, Streamed>(a, dy + k.offset, k.pixels, channel, a.spatial_gate + pixel,
                                                           w.d_score + pixel, mean, dx + k.offset);
        } else {
          Layout::template apply_gradients<mode, Whole>(a, dy + k.offset, k.pixels, channel, a.spatial_gate + pixel,
                                                        w.d_score + pixel, mean, dx + k.offset);
        }
      }
      end_stream();
    });
    return group_done;
  });
  return parameter_gradients(a, w) && done;
}

template <class T, template <class> class Layout>
bool forward_of(const ScseGateForward& a) {
  return a.mode == GateMode::add ? run_forward<T, Layout<T>, GateMode::add>(a)
                                 : run_forward<T, Layout<T>, GateMode::max>(a);
}
template <class T, template <class> class Layout>
bool backward_of(const ScseGateBackward& a) {
  return a.mode == GateMode::add ? run_backward<T, Layout<T>, GateMode::add>(a)
                                 : run_backward<T, Layout<T>, GateMode::max>(a);
}

bool forward(const ScseGateForward& a) {
  const bool half = a.dtype == DType::bfloat16;
  if (a.geometry.channels_last)
    return half ? forward_of<BFloat16, ChannelsLast>(a) : forward_of<float, ChannelsLast>(a);
  return half ? forward_of<BFloat16, Planes>(a) : forward_of<float, Planes>(a);
}

bool backward(const ScseGateBackward& a) {
  const bool half = a.dtype == DType::bfloat16;
  if (a.geometry.channels_last)
    return half ? backward_of<BFloat16, ChannelsLast>(a) : backward_of<float, ChannelsLast>(a);
  return half ? backward_of<BFloat16, Planes>(a) : backward_of<float, Planes>(a);
}

}  // namespace

extern const ScseGateKernels scse_gate_kernels;
const ScseGateKernels scse_gate_kernels{forward, backward};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
