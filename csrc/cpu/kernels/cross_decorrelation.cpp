// Decorrelation between two batches: the kernels, compiled once per instruction set. Equations and arguments:
// spinecore/cross_decorrelation.h.
//
// Three products of 2 B Da Db operations, one forward and two backward; or, with few rows, two symmetric ones forward
// and two backward, B^2 (Da + Db) multiplications each way and twice that. Nothing but the products costs much:
// centring and normalising happen while rows are packed.
#include "spinecore/cross_decorrelation.h"

#include "row_normalisation.h"
#include "strip_products.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Both batches as they enter the products, and where their statistics lie.
struct Pair {
  Features a, b;
  const float *norms_a, *norms_b;

  Pair(const CrossGeometry& g, const void* a_data, const void* b_data, bool half, const float* statistics)
      : a{a_data, half, g.rows, g.width_a, statistics, nullptr},
        b{b_data, half, g.rows, g.width_b, statistics + 2 * g.width_a, nullptr},
        norms_a(statistics + 2 * (g.width_a + g.width_b)),
        norms_b(norms_a + g.rows) {}
};

void row_scales(const float* norms, int64_t rows, float* to) {
  for (int64_t r = 0; r < rows; ++r) to[r] = 1.f / (norms[r] + norm_eps);
}

double divisor(const CrossGeometry& g) { return g.normalise || g.rows < 3 ? 1. : static_cast<double>(g.rows - 1); }

bool gram_of(const TileGrid& grid, const Features& f, float scale, float* to, float* packed, float* tiles,
             float* partial) {
  double unused = 0.;
  const bool done = tile_sums(grid, PackTransposed{f, grid.row_panels}, packed, tiles);
  return finish_tiles(grid, tiles, {scale, to, false}, partial, &unused) && done;
}

// sum of x * y over two (rows, rows) matrices; two floats of `partial` hold the double of a row.
bool sum_of_products(const float* x, const float* y, int64_t rows, float* partial, double* total) {
  const bool done = parallel_for(0, rows, 1 + (int64_t{32} << 10) / (1 + rows), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const auto row = static_cast<double>(dot(x + r * rows, y + r * rows, rows));
      std::memcpy(partial + 2 * r, &row, sizeof(row));
    }
  });
  *total = 0.;
  for (int64_t r = 0; r < rows; ++r) {
    double row;
    std::memcpy(&row, partial + 2 * r, sizeof(row));
    *total += row;
  }
  return done;
}

bool forward(const CrossForward& call) {
  const auto& g = call.geometry;
  float *packed = call.workspace, *tiles = packed + g.packed_size, *partial = tiles + g.tiles_size,
        *scales = partial + g.partial_size;
  Pair pair(g, call.a, call.b, call.half, call.statistics);
  const auto rows = static_cast<double>(g.rows);
  bool done = column_means(pair.a, rows, partial, call.statistics);
  done &= column_means(pair.b, rows, partial, call.statistics + 2 * g.width_a);
  if (g.normalise) {
    float* norms = call.statistics + 2 * (g.width_a + g.width_b);
    done &= row_norms(pair.a, norms);
    done &= row_norms(pair.b, norms + g.rows);
    row_scales(norms, 2 * g.rows, scales);
    pair.a.scale = scales;
    pair.b.scale = scales + g.rows;
  }
  const auto scale = static_cast<float>(1. / divisor(g));
  double squares = 0.;
  if (g.gram) {
    float* other = call.kept + g.rows * g.rows;
    done &= gram_of(g.tiles, pair.a, scale, call.kept, packed, tiles, partial);
    done &= gram_of(g.more_tiles, pair.b, scale, other, packed, tiles, partial);
    done &= sum_of_products(call.kept, other, g.rows, partial, &squares);
    if (squares < 0.) squares = 0.;
  } else {
    done &= tile_sums(g.tiles, PackStrips{pair.a, pair.b, false, g.tiles.row_panels}, packed, tiles);
    done &= finish_tiles(g.tiles, tiles, {scale, call.kept, false}, partial, &squares);
  }
  *call.penalty = static_cast<float>(squares / (static_cast<double>(g.width_a) * static_cast<double>(g.width_b)));
  return done;
}

// The gradient of `own`, one of the batches: other C^T (`transposed`: own is a) or other C, or gram own.
template <class T>
bool gradient_of(const CrossBackward& call, const StripGrid& grid, const Features& own, const Features& other,
                 bool transposed, const float* norms, T* to) {
  const auto& g = call.geometry;
  float *partial = call.workspace, *right = partial + g.partial_size + 2 * g.rows, *wide = right + grid.workspace;
  const auto elements = static_cast<double>(g.width_a) * static_cast<double>(g.width_b);
  const auto factor = static_cast<float>(2. * static_cast<double>(*call.grad) / (elements * divisor(g)));
  const auto product = [&](auto* result) {
    const auto put = [&](int64_t row, int64_t rows, int64_t column, int64_t columns, const float* tile) {
      store_tile(row, rows, column, columns, tile, own.width, result);
    };
    if (g.gram) {
      const float* gram = transposed ? call.kept + g.rows * g.rows : call.kept;  // of the other batch
      return multiply_strips(grid, gram, own, factor, put);
    }
    const Features kept{call.kept, false, g.width_a, g.width_b, nullptr, nullptr};
    const auto pack = [&](int64_t strip, float* panel) {
      if (transposed) {
        pack_transposed(kept, strip * feature_panel, 0, g.width_b, factor, panel);
      } else {
        pack_strip(kept, strip * feature_panel, 0, g.width_a, factor, panel);
      }
    };
    return multiply_rows(grid, other, pack, put, right);
  };
  if (!g.normalise) return product(to);
  Features centred = own;
  centred.scale = nullptr;
  if constexpr (std::is_same<T, float>::value) {
    return product(to) && normalisation_gradient(centred, norms, to, to, partial);
  } else {
    return product(wide) && normalisation_gradient(centred, norms, wide, to, partial);
  }
}

template <class T>
bool backward_of(const CrossBackward& call) {
  const auto& g = call.geometry;
  Pair pair(g, call.a, call.b, call.half, call.statistics);
  if (g.normalise) {
    float* scales = call.workspace + g.partial_size;
    row_scales(pair.norms_a, 2 * g.rows, scales);
    pair.a.scale = scales;
    pair.b.scale = scales + g.rows;
  }
  const bool done = gradient_of(call, g.strips_a, pair.a, pair.b, true, pair.norms_a, static_cast<T*>(call.da));
  return gradient_of(call, g.strips_b, pair.b, pair.a, false, pair.norms_b, static_cast<T*>(call.db)) && done;
}

bool backward(const CrossBackward& call) { return call.half ? backward_of<BFloat16>(call) : backward_of<float>(call); }

}  // namespace

extern const CrossKernels cross_decorrelation_kernels;
const CrossKernels cross_decorrelation_kernels{forward, backward};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
