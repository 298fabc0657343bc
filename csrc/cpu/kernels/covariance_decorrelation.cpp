// Covariance decorrelation: the kernels, compiled once per instruction set. Equations and arguments:
// spinecore/covariance_decorrelation.h.
//
// Nearly all of the work is two products, and they decide the form: B D^2 multiplications and additions forward (half
// of a symmetric matrix) and 2 B D^2 backward with the covariance, D and B changing places with the Gram matrix. Rows
// are centred while they are packed, also for the backward: correcting for the mean afterwards would lose what digits
// the mean has more than the deviation.
#include "spinecore/covariance_decorrelation.h"

#include "strip_products.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Rows that count, and the divisor of the covariance.
struct Count {
  double rows, divisor;

  Count(int64_t total, const float* mask) {
    rows = static_cast<double>(total);
    if (mask != nullptr) {
      rows = 0.;
      for (int64_t i = 0; i < total; ++i) rows += static_cast<double>(mask[i]);
    }
    divisor = rows > 2. ? rows - 1. : 1.;
  }
};

bool forward(const CovarianceForward& a) {
  const auto& g = a.geometry;
  const Count count(g.rows, a.mask);
  float *mean = a.moments, *variance = a.moments + 2 * g.width;
  float *packed = a.workspace, *tiles = packed + g.tiles.packed_size, *partial = tiles + g.tiles.tiles_size;
  Features z{a.z, a.half, g.rows, g.width, nullptr, a.mask};
  bool done = column_means(z, count.rows, partial, mean);
  z.mean = mean;
  const auto scale = static_cast<float>(1. / count.divisor);
  double squares = 0.;
  if (g.gram) {
    done &= column_squares(z, 1. / count.divisor, partial, variance);
    done &= tile_sums(g.tiles, PackTransposed{z, g.tiles.row_panels}, packed, tiles);
    done &= finish_tiles(g.tiles, tiles, {scale, a.kept, false}, partial, &squares);
    for (int64_t c = 0; c < g.width; ++c)
      squares -= static_cast<double>(variance[c]) * static_cast<double>(variance[c]);
  } else {
    // Variances are summed apart: the tiles' own sums are longer chains in float32.
    float* sums = partial + 2 * g.tiles.tiles;
    const auto add_squares = [&](int64_t panel, int64_t begin, int64_t terms, const float* strip) {
      const int64_t column = panel * feature_panel;
      float* to = sums + begin / depth_block * g.width + column;
      strip_squares(strip, terms, smaller(feature_panel, g.width - column), to);
    };
    done &= tile_sums(g.tiles, PackStrips{z, z, true, g.tiles.row_panels}, packed, tiles, add_squares);
    sum_partials(sums, (g.rows + depth_block - 1) / depth_block, g.width, 1. / count.divisor, variance);
    done &= finish_tiles(g.tiles, tiles, {scale, a.kept, true}, partial, &squares);
  }
  const auto width = static_cast<double>(g.width);
  *a.off_diagonal = static_cast<float>((squares < 0. ? 0. : squares) / width);
  double hinge = 0.;
  for (int64_t c = 0; c < g.width; ++c) {
    const double missing = static_cast<double>(a.gamma - __builtin_sqrtf(variance[c] + a.eps));
    hinge += missing < 0. ? 0. : missing;
  }
  *a.hinge = static_cast<float>(hinge / width);
  return done;
}

template <class T>
bool backward_of(const CovarianceBackward& a) {
  const auto& g = a.geometry;
  const Count count(g.rows, a.mask);
  const float *mean = a.moments, *variance = a.moments + 2 * g.width;
  const auto width = static_cast<float>(g.width), divisor = static_cast<float>(count.divisor);
  const Features z{a.z, a.half, g.rows, g.width, mean, a.mask};
  const float factor = 4.f * *a.d_off_diagonal / (width * divisor), hinge = 2.f * *a.d_hinge / divisor;
  T* dz = static_cast<T*>(a.dz);
  // What multiplies the column itself: the slope of the hinge.
  const auto slope = [&](int64_t c) {
    const float deviation = __builtin_sqrtf(variance[c] + a.eps);
    return deviation < a.gamma ? -0.5f / (deviation * width) * hinge : 0.f;
  };
  if (!g.gram) {
    const Features covariance{a.kept, false, g.width, g.width, nullptr, nullptr};
    const auto pack = [&](int64_t strip, float* to) {
      const int64_t column = strip * feature_panel;
      pack_strip(covariance, column, 0, g.width, factor, to);
      for (int64_t c = 0; c < smaller(feature_panel, g.width - column); ++c) {
        to[(column + c) * feature_panel + c] = slope(column + c);
      }
    };
    const auto put = [&](int64_t row, int64_t rows, int64_t column, int64_t columns, const float* tile) {
      store_tile(row, rows, column, columns, tile, g.width, dz);
    };
    return multiply_rows(g.strips, z, pack, put, a.workspace);
  }
  const auto put = [&](int64_t, int64_t rows, int64_t column, int64_t columns, const float* tile) {
    float own[feature_panel];  // the Gram matrix has the diagonal of the covariance in it
    for (int64_t c = 0; c < columns; ++c) own[c] = slope(column + c) - factor * variance[column + c];
    const float *centre = z.mean + column, *rest = z.mean_rest() + column;
    const T* from = static_cast<const T*>(a.z) + column;
    T* to = dz + column;
    for (int64_t r = 0; r < rows; ++r, tile += feature_panel, from += g.width, to += g.width) {
      const bool counts = z.row_scale(r) != 0.f;
      each_vector(columns, [&](int64_t c, auto access) {
        const Vec centred = counts ? access.get(from + c) - access.get(centre + c) - access.get(rest + c) : Vec{};
        access.put(to + c, load(tile + c) + access.get(own + c) * centred);
      });
    }
  };
  return multiply_strips(g.strips, a.kept, z, factor, put);
}

bool backward(const CovarianceBackward& a) { return a.half ? backward_of<BFloat16>(a) : backward_of<float>(a); }

}  // namespace

extern const CovarianceKernels covariance_decorrelation_kernels;
const CovarianceKernels covariance_decorrelation_kernels{forward, backward};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
