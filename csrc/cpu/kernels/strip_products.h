// Products of features with a packed matrix, backward: result (rows, columns) = left (rows, depth) * right (depth,
// columns), in tiles of row_block x feature_panel that an epilogue takes over. In the namespace of the instruction set.
#pragma once

#include "spinecore/scratch.h"
#include "tile_products.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Rows of `left` are centred and packed block by block against all strips of `right`, which pack(strip, to) packs whole
// beforehand. put(row, rows, column, columns, tile) gets every finished tile, row_block x feature_panel.
template <class Pack, class Put>
[[nodiscard]] bool multiply_rows(const StripGrid& g, const Features& left, const Pack& pack, const Put& put,
                                 float* right) {
  bool done = parallel_for(0, g.strips, product_grain(16 * g.depth * feature_panel), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) pack(i, right + i * g.depth * feature_panel);
  });
  bool failed = false;
  const int64_t grain = product_grain(row_block * g.columns * g.depth);
  done &= parallel_for(0, g.row_blocks, grain, [&](int64_t first, int64_t last) {
    float* packed = thread_scratch(g.scratch);
    if (packed == nullptr) return __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
    float tile[row_block * feature_panel];
    for (int64_t block = first; block < last; ++block) {
      const int64_t row = block * row_block, rows = smaller(row_block, g.rows - row);
      pack_rows(left, row, rows, g.left_stride, packed);
      for (int64_t strip = 0; strip < g.strips; ++strip) {
        const int64_t column = strip * feature_panel, columns = smaller(feature_panel, g.columns - column);
        for (int64_t k = 0; k < g.depth; k += depth_block) {
          const float* panel = right + (strip * g.depth + k) * feature_panel;
          const Product p{smaller(depth_block, g.depth - k),
                          packed + k,
                          g.left_stride,
                          1,
                          panel,
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
  });
  return done && !failed;
}

// `left` (rows, depth) is read as it lies, and strips of `right` are packed one at a time: for few, short rows.
template <class Put>
[[nodiscard]] bool multiply_strips(const StripGrid& g, const float* left, const Features& right, float factor,
                                   const Put& put) {
  bool failed = false;
  const int64_t grain = product_grain(g.rows * g.depth * feature_panel);
  const bool done = parallel_for(0, g.strips, grain, [&](int64_t first, int64_t last) {
    float* packed = thread_scratch(g.scratch);
    if (packed == nullptr) return __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
    float* result = packed + g.depth * feature_panel;
    for (int64_t strip = first; strip < last; ++strip) {
      const int64_t column = strip * feature_panel, columns = smaller(feature_panel, g.columns - column);
      pack_strip(right, column, 0, g.depth, factor, packed);
      for (int64_t k = 0; k < g.depth; k += depth_block) {
        const float* panel = packed + k * feature_panel;
        const Product p{
            smaller(depth_block, g.depth - k), left + k, g.depth, 1, panel, feature_panel, result, feature_panel};
        if (k == 0) {
          tile_product<false>(g.rows, columns, p);
        } else {
          tile_product<true>(g.rows, columns, p);
        }
      }
      put(0, g.rows, column, columns, result);
    }
  });
  return done && !failed;
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
