// Products of features with a packed matrix, backward: result (rows, columns) = left (rows, depth) * right (depth,
// columns), in tiles of row_block x feature_panel that an epilogue takes over. In the namespace of the instruction set.
#pragma once

#include "tile_products.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Rows of `left` are centred and packed block by block against all strips of `right`, which pack(strip, to) packs whole
// beforehand. put(row, rows, column, columns, tile) gets every finished tile, row_block x feature_panel.
template <class Pack, class Put>
[[nodiscard]] bool multiply_rows(const StripGrid& g, const Features& left, const Pack& pack, const Put& put,
                                 float* workspace) {
  float* right = workspace;
  float* scratch = workspace + g.packed_size;
  const int64_t strips = g.strips, blocks = g.row_blocks, stride = g.left_stride;
  bool done = parallel_for(0, strips, product_grain(16 * g.depth * feature_panel), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) pack(i, right + i * g.depth * feature_panel);
  });
  const int64_t work = (1 + blocks / (g.units + 1)) * row_block * g.columns * g.depth;
  done &= parallel_for(0, g.units, product_grain(work), [&](int64_t first, int64_t last) {
    float tile[row_block * feature_panel];
    for (int64_t unit = first; unit < last; ++unit) {
      float* packed = scratch + unit * g.scratch;
      for (int64_t block = blocks * unit / g.units; block < blocks * (unit + 1) / g.units; ++block) {
        const int64_t row = block * row_block, rows = smaller(row_block, g.rows - row);
        pack_rows(left, row, rows, stride, packed);
        for (int64_t strip = 0; strip < strips; ++strip) {
          const int64_t column = strip * feature_panel, columns = smaller(feature_panel, g.columns - column);
          for (int64_t k = 0; k < g.depth; k += depth_block) {
            const Product p{smaller(depth_block, g.depth - k),
                            packed + k,
                            stride,
                            1,
                            right + (strip * g.depth + k) * feature_panel,
                            feature_panel,
                            tile,
                            feature_panel};
            if (k == 0) {
              tile_product<false>(rows, columns, p);
            } else {
              tile_product<true>(rows, columns, p);
            }
          }
          put(row, rows, column, columns, tile);
        }
      }
    }
  });
  return done;
}

// `left` (rows, depth) is read as it lies, and strips of `right` are packed one at a time: for few, short rows.
template <class Put>
[[nodiscard]] bool multiply_strips(const StripGrid& g, const float* left, const Features& right, float factor,
                                   const Put& put, float* workspace) {
  const int64_t strips = g.strips;
  const int64_t work = (1 + strips / (g.units + 1)) * g.rows * g.depth * feature_panel;
  return parallel_for(0, g.units, product_grain(work), [&](int64_t first, int64_t last) {
    for (int64_t unit = first; unit < last; ++unit) {
      float *packed = workspace + unit * g.scratch, *result = packed + g.depth * feature_panel;
      for (int64_t strip = strips * unit / g.units; strip < strips * (unit + 1) / g.units; ++strip) {
        const int64_t column = strip * feature_panel, columns = smaller(feature_panel, g.columns - column);
        pack_strip(right, column, 0, g.depth, factor, packed);
        for (int64_t k = 0; k < g.depth; k += depth_block) {
          const Product p{smaller(depth_block, g.depth - k), left + k,      g.depth, 1,
                          packed + k * feature_panel,        feature_panel, result,  feature_panel};
          if (k == 0) {
            tile_product<false>(g.rows, columns, p);
          } else {
            tile_product<true>(g.rows, columns, p);
          }
        }
        put(0, g.rows, column, columns, result);
      }
    }
  });
}

// Writes a finished tile into a matrix (rows, width).
template <class T>
void store_tile(int64_t row, int64_t rows, int64_t column, int64_t columns, const float* tile, int64_t width, T* to) {
  to += row * width + column;
  for (int64_t r = 0; r < rows; ++r, to += width, tile += feature_panel) {
    each_vector(columns, [&](int64_t c, auto access) { access.put(to + c, load(tile + c)); });
  }
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
