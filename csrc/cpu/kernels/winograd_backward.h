// One pass backward through a 3x3 convolution: the gradient of what was convolved and that of the weights, tile by tile
// while the tiles are in the caches.
#pragma once

#include "spinecore/scratch.h"
#include "winograd_gradient.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// The tiles in parts that depend on sizes alone, each with sums of its own that are added up in order: results are the
// same for any number of threads. `in` and `out` are those of the forward convolution.
struct BackwardTiles {
  TileGrid grid;
  int64_t in, out, tiles, block, unit, parts;

  BackwardTiles(int64_t n, int64_t height, int64_t width, int64_t in_channels, int64_t out_channels)
      : grid(height, width), in(in_channels), out(out_channels), tiles(n * grid.down * grid.across) {
    constexpr int64_t most_parts = 16, most_floats = int64_t{1} << 20;
    const int64_t fit = most_floats / GradientSums(in, out).floats();
    block = Block::tiles_for(out);
    unit = round_up(GradientBlock::tiles_for(in, out), block);
    parts = smaller(larger(smaller(fit, most_parts), 2), larger(tiles / unit, 1));
  }
  int64_t begin(int64_t part) const {
    return part == parts ? tiles : smaller(tiles, round_up(tiles * part / parts, block));
  }
  int64_t sums() const { return parts * GradientSums(in, out).floats(); }
  int64_t scratch() const { return Block::floats(out, in) + GradientBlock::floats(in, out); }
};

// Calls body(part, first tile, count, memory) for every part, in units of tiles small enough that a unit may be gone
// over twice. `scratch` floats of memory are the thread's own.
template <class Body>
bool each_unit(const BackwardTiles& t, int64_t scratch, int* flag, const Body& body) {
  return parallel_for(0, t.parts, 1, [&](int64_t begin, int64_t end) {
    float* memory = thread_scratch(scratch);
    if (memory == nullptr) {
      __atomic_store_n(flag, 1, __ATOMIC_RELAXED);  // somebody else has to compute this
      return;
    }
    for (int64_t part = begin; part < end; ++part) {
      const int64_t last = t.begin(part + 1);
      for (int64_t first = t.begin(part); first < last; first += t.unit) {
        body(part, first, smaller(t.unit, last - first), memory);
      }
    }
    end_stream();
  });
}

struct KeepNothing {
  template <class Access>
  SPINECORE_INLINE void operator()(const Tile&, int64_t, Access, const Vec (&)[4][4]) const {}
};

// Sums over pixels of one thread, in float32 over a unit of tiles and in double from there on.
inline void flush_sums(float* sums, int64_t count, double* totals) {
  for (int64_t i = 0; i < count; ++i) {
    totals[i] += static_cast<double>(sums[i]);
    sums[i] = 0.f;
  }
}

// to[i] = the sum of all parts, in their order.
inline void add_parts(const double* totals, int64_t parts, int64_t count, double* to) {
  for (int64_t i = 0; i < count; ++i) {
    double total = 0.;
    for (int64_t part = 0; part < parts; ++part) total += totals[part * count + i];
    to[i] = total;
  }
}

inline void fill_zero(double* to, int64_t count) {
  __builtin_memset(to, 0, static_cast<size_t>(count) * sizeof(double));
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
