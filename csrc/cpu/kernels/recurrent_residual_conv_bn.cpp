// Recurrent residual convolution in training, forward. Equations and arguments: spinecore/recurrent_residual_conv_bn.h.
//
// Each step is one pass: the activation is applied where the convolution reads z, the sums for the statistics are taken
// while the results are in registers.
#include "spinecore/recurrent_residual_conv_bn.h"

#include "recurrence_maps.h"
#include "spinecore/parallel.h"
#include "spinecore/scratch.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Chunks of tiles, the same for any number of threads, each with its own sums.
struct Chunks {
  TileGrid grid;
  int64_t n, tiles, size, count;

  explicit Chunks(const RecurrenceGeometry& g)
      : grid(g.height, g.width),
        n(g.n),
        tiles(g.n * grid.down * grid.across),
        size(4 * Block::tiles_for(g.channels)),
        count((tiles + size - 1) / size) {}

  int64_t pixels(int64_t chunk) const {
    const int64_t first = chunk * size, end = smaller(tiles, first + size);
    if (grid.height % 4 == 0 && grid.width % 4 == 0) return 16 * (end - first);
    int64_t total = 0;
    for (int64_t i = first; i < end; ++i) {
      const Tile tile = grid.at(i);
      total += tile.height * tile.width;
    }
    return total;
  }
};

// As the image holds it: statistics are those of what is normalised later.
template <class T>
SPINECORE_INLINE Vec as_stored(Vec value) {
  if constexpr (sizeof(T) == 2) value = widen(narrow(value));
  return value;
}

// Writes z (+ z_0) and sums it: values less the first one of the chunk, which is near enough to the mean, and their
// squares.
template <class T, bool add_first>
struct StoreAndSum {
  Image<T> z;
  const T* first;
  bool streamed;
  Tile start;  // of the chunk
  float *pilot, *sums, *squares;

  template <class Access>
  SPINECORE_INLINE void operator()(const Tile& tile, int64_t c, Access access, Vec (&results)[4][4]) const {
    T* to = z.pixel(tile.n, tile.y, tile.x) + c;
    each_pixel(tile, access, [&](int i, int j) {
      T* place = to + z.offset(i, j);
      if constexpr (add_first) results[i][j] += access.get(first + (place - z.data));
      put_result(access, place, results[i][j], streamed);
      results[i][j] = as_stored<T>(results[i][j]);
    });
    const bool starts = tile.x == start.x && tile.y == start.y && tile.n == start.n;
    const Vec shift = starts ? results[0][0] : access.get(pilot + c);
    Vec total{}, square{};
    each_pixel(tile, access, [&](int i, int j) {
      const Vec difference = results[i][j] - shift;
      total += difference;
      square += difference * difference;
    });
    if (starts) {
      access.put(pilot + c, shift);
    } else {
      total += access.get(sums + c);
      square += access.get(squares + c);
    }
    access.put(sums + c, total);
    access.put(squares + c, square);
  }
};

// Chan's merge of the chunks, in their order and in double.
void merge_statistics(const RecurrenceForward& a, const Chunks& chunks, int64_t step, const float* partial,
                      const float* pixels_of) {
  const int64_t channels = a.geometry.channels;
  for (int64_t c = 0; c < channels; ++c) {
    double count = 0., mean = 0., spread = 0.;
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
      const float* from = partial + 3 * chunk * channels + c;
      const double pixels = static_cast<double>(pixels_of[chunk]), total = static_cast<double>(from[channels]);
      const double own_spread = static_cast<double>(from[2 * channels]) - total * total / pixels;
      const double difference = static_cast<double>(from[0]) + total / pixels - mean;
      const double merged = count + pixels;
      mean += difference * pixels / merged;
      spread += (own_spread < 0. ? 0. : own_spread) + difference * difference * count * pixels / merged;
      count = merged;
    }
    const double variance = spread / count;
    a.mean[step * channels + c] = static_cast<float>(mean);
    a.variance[step * channels + c] = static_cast<float>(variance);
    a.inverse_std[step * channels + c] = static_cast<float>(1. / __builtin_sqrt(variance + a.eps));
  }
}

template <class Source, class Epilogue>
bool convolve_step(const RecurrenceForward& a, const WinogradWeights& w, const Source& source, const Chunks& chunks,
                   const ReadAhead& ahead, const Epilogue& epilogue_of) {
  const int64_t channels = a.geometry.channels;
  const int64_t grain = 1 + (int64_t{1} << 18) / (positions * chunks.size * (1 + channels * channels));
  return parallel_for(0, chunks.count, grain, [&](int64_t begin, int64_t end) {
    float* memory = thread_scratch(Block::floats(channels, channels));
    if (memory == nullptr) {
      __atomic_store_n(a.not_finite, 1, __ATOMIC_RELAXED);  // somebody else has to compute this
      return;
    }
    const Block block(channels, channels, memory);
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * chunks.size, count = smaller(chunks.size, chunks.tiles - first);
      with_known_width<16>(channels, [&](auto known) {
        convolve_tiles(known, known, w, source, chunks.grid, first, count, block, epilogue_of(chunk), ahead);
      });
    }
    end_stream();
  });
}

// y = x + u_steps
template <class T>
bool finish(const RecurrenceForward& a, const float* scale, const float* shift) {
  const auto& g = a.geometry;
  const T *x = static_cast<const T*>(a.x), *z = static_cast<const T*>(a.z[g.steps]);
  T* y = static_cast<T*>(a.y);
  const Activation<T> activation{z, scale, shift};
  const int64_t rows = g.n * g.height, row = g.width * g.channels;
  const bool streamed = can_stream(y, rows * g.width, g.channels);
  return parallel_for(0, rows, 1 + (int64_t{1} << 15) / (1 + row), [&](int64_t begin, int64_t end) {
    for (int64_t pixel = begin * g.width; pixel < end * g.width; ++pixel) {
      each_vector(g.channels, [&](int64_t c, auto access) {
        const int64_t at = pixel * g.channels + c;
        Vec value = activation.channel(c, access)(at);
        if (a.residual) value += access.get(x + at);
        put_result(access, y + at, value, streamed);
      });
    }
    end_stream();
  });
}

template <class T>
bool run(const RecurrenceForward& a) {
  const auto& g = a.geometry;
  const Chunks chunks(g);
  float *scale = a.workspace, *shift = scale + g.channels, *partial = shift + g.channels;
  float* pixels = partial + 3 * chunks.count * g.channels;
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) pixels[chunk] = static_cast<float>(chunks.pixels(chunk));
  bool done = true;
  for (int64_t k = 0; k <= g.steps; ++k) {
    const auto z = Image<T>::whole(static_cast<T*>(a.z[k]), g.height, g.width, g.channels);
    const T* first = static_cast<const T*>(a.z[0]);
    const bool streamed = tiles_fill_lines<T>(g.channels) && can_stream(z.data, g.n * g.height * g.width, g.channels);
    ReadAhead ahead{{}, g.channels * static_cast<int64_t>(sizeof(T)), g.height, g.width, chunks.tiles};
    const auto epilogue = [&](auto add_first) {
      return [&, z](int64_t chunk) {
        float* own = partial + 3 * chunk * g.channels;
        return StoreAndSum<T, decltype(add_first)::value>{
            z, first, streamed, chunks.grid.at(chunk * chunks.size), own, own + g.channels, own + 2 * g.channels};
      };
    };
    if (k == 0) {
      const auto x = Image<const T>::whole(static_cast<const T*>(a.x), g.height, g.width, g.channels);
      ahead.add(x.data);
      if (!streamed) ahead.add(z.data);
      done &= convolve_step(a, a.w_in, x, chunks, ahead, epilogue(std::false_type{}));
    } else {
      const Mapped<Activation<T>> u{{static_cast<const T*>(a.z[k - 1]), scale, shift}, g.height, g.width, g.channels};
      ahead.add(u.map.z);
      if (!streamed) ahead.add(z.data);
      if (k > 1) ahead.add(first);
      done &= convolve_step(a, a.w_rec, u, chunks, ahead, epilogue(std::true_type{}));
    }
    const int64_t row = k * g.channels;
    if (a.batch_statistics) {
      merge_statistics(a, chunks, k, partial, pixels);
      affine_map(g.channels, a.weight + row, a.bias + row, a.mean + row, a.inverse_std + row, scale, shift);
    } else {
      __builtin_memcpy(scale, a.weight + row, static_cast<size_t>(g.channels) * sizeof(float));
      __builtin_memcpy(shift, a.bias + row, static_cast<size_t>(g.channels) * sizeof(float));
    }
    // Sums of finite values may overflow: then others compute what these kernels could have.
    if (!all_finite(partial, 3 * chunks.count * g.channels) || !all_finite(scale, 2 * g.channels)) {
      __atomic_store_n(a.not_finite, 1, __ATOMIC_RELAXED);
    }
    if (!done || *a.not_finite != 0) return done;
  }
  return a.batch_statistics ? finish<T>(a, scale, shift) : true;
}

bool forward(const RecurrenceForward& a) {
  return a.geometry.dtype == DType::bfloat16 ? run<BFloat16>(a) : run<float>(a);
}

int64_t workspace(const RecurrenceGeometry& g) {
  const int64_t chunks = Chunks(g).count;
  return (2 + 3 * chunks) * g.channels + chunks;
}

}  // namespace

extern const RecurrenceKernels recurrent_residual_conv_bn_kernels;
const RecurrenceKernels recurrent_residual_conv_bn_kernels{forward, workspace};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
