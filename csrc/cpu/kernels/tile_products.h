// The tiles of a product of features, forward: sums over the depth, then scale, squares and mirror while a tile is in
// the caches. In the namespace of the instruction set, like simd.h.
#pragma once

#include "feature_panels.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

constexpr int64_t tile_elements = feature_panel * feature_panel;
constexpr int64_t diagonal_step = 16;  // rows of a tile on the diagonal that start at the same column
static_assert(diagonal_step % lanes == 0, "blocks of lanes x lanes on the diagonal are computed whole");

struct TilePlace {
  int64_t row, column;  // panels

  TilePlace(const TileGrid& g, int64_t tile) {
    if (g.symmetric) {
      for (column = 0; (column + 1) * (column + 2) / 2 <= tile;) ++column;
      row = tile - column * (column + 1) / 2;
    } else {
      row = tile / g.column_panels;
      column = tile % g.column_panels;
    }
  }
};

// rows x columns of C; columns are computed in whole vectors.
template <bool accumulate>
void tile_product(int64_t rows, int64_t columns, Product p) {
  for (; columns > 0; columns -= panel_width, p.b += panel_width, p.c += panel_width) {
    gemm_panel<accumulate>(rows, (smaller(columns, panel_width) + lanes - 1) / lanes, p);
  }
}

// Of a tile on the diagonal only what is right of it, in steps.
template <bool accumulate>
void diagonal_product(int64_t side, Product p) {
  for (int64_t i = 0; i < side; i += diagonal_step) {
    tile_product<accumulate>(smaller(diagonal_step, side - i), side - i, p);
    p.a += diagonal_step;
    p.b += diagonal_step;
    p.c += diagonal_step * feature_panel + diagonal_step;
  }
}

// Adds the products of packed panels to one tile.
template <bool accumulate>
void add_tile(const TileGrid& g, int64_t tile, int64_t depth, const float* packed, float* to) {
  const TilePlace at(g, tile);
  const float *left = packed + at.row * packed_panel,
              *right = packed + (g.symmetric ? at.column : g.row_panels + at.column) * packed_panel;
  const Product p{depth, left, 1, feature_panel, right, feature_panel, to, feature_panel};
  const int64_t rows = smaller(feature_panel, g.rows - at.row * feature_panel),
                columns = smaller(feature_panel, g.columns - at.column * feature_panel);
  if (g.symmetric && at.row == at.column) return diagonal_product<accumulate>(rows, p);
  tile_product<accumulate>(rows, columns, p);
}

// Least number of items worth a thread, for items of so many multiplications.
inline int64_t product_grain(int64_t multiplications) { return 1 + (int64_t{2} << 20) / (1 + multiplications); }

// Packs terms begin .. begin + count of every panel, packed_panel apart: first those of the rows, then, unless the
// product is symmetric, those of the columns. Strips of features: the terms are rows.
struct PackStrips {
  const Features &rows, &columns;
  bool symmetric;
  int64_t row_panels;

  int64_t items(int64_t count) const { return (count + sum_rows_block - 1) / sum_rows_block; }
  void operator()(int64_t item, int64_t begin, int64_t count, float* to) const {
    const int64_t first = item * sum_rows_block, length = smaller(sum_rows_block, count - first);
    to += first * feature_panel;
    pack_strips(rows, begin + first, length, packed_panel, to);
    if (!symmetric) pack_strips(columns, begin + first, length, packed_panel, to + row_panels * packed_panel);
  }
};

// Rows of features: the terms are columns.
struct PackTransposed {
  const Features& rows;
  int64_t row_panels;

  int64_t items(int64_t) const { return row_panels; }
  void operator()(int64_t item, int64_t begin, int64_t count, float* to) const {
    pack_transposed(rows, item * feature_panel, begin, count, 1.f, to + item * packed_panel);
  }
};

struct NoDiagonal {
  void operator()(int64_t, int64_t, int64_t, const float*) const {}
};

// tiles[slab][tile][64][64] = sum over the slab. diagonal(panel, begin, count, packed) gets every packed panel of a
// symmetric product, while it is in the caches.
template <class Pack, class Diagonal = NoDiagonal>
[[nodiscard]] bool tile_sums(const TileGrid& g, const Pack& pack, float* packed, float* tiles,
                             const Diagonal& diagonal = {}) {
  const int64_t panels = g.row_panels + (g.symmetric ? 0 : g.column_panels);
  bool failed = false;
  const auto note = [&failed](bool done) {
    if (!done) __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
  };
  note(parallel_for(0, g.slabs, 1, [&](int64_t first, int64_t last) {
    for (int64_t slab = first; slab < last; ++slab) {
      float* mine = packed + slab * panels * packed_panel;
      float* sums = tiles + slab * g.tiles * tile_elements;
      const int64_t start = slab * g.slab_depth, end = smaller(g.depth, start + g.slab_depth);
      if (start >= end) fill_zero(sums, g.tiles * tile_elements);
      for (int64_t k = start; k < end; k += depth_block) {
        const int64_t count = smaller(depth_block, end - k), items = pack.items(count);
        const int64_t elements = count * panels * feature_panel / items;
        note(parallel_for(0, items, product_grain(16 * elements), [&](int64_t from, int64_t to) {
          for (int64_t i = from; i < to; ++i) pack(i, k, count, mine);
        }));
        note(parallel_for(0, g.tiles, product_grain(count * tile_elements), [&](int64_t from, int64_t to) {
          for (int64_t i = from; i < to; ++i) {
            if (k == start) {
              add_tile<false>(g, i, count, mine, sums + i * tile_elements);
            } else {
              add_tile<true>(g, i, count, mine, sums + i * tile_elements);
            }
            const TilePlace at(g, i);
            if (g.symmetric && at.row == at.column) diagonal(at.row, k, count, mine + at.row * packed_panel);
          }
        }));
      }
    }
  }));
  return !failed;
}

// What a finished tile does besides being scaled and stored.
struct TileResult {
  float scale;
  float* to;            // (rows, columns); where the product is symmetric both halves are written
  bool diagonal_apart;  // the diagonal stays out of the sum of squares
};

template <class T>
SPINECORE_INLINE Vec load_columns(const T* from, int64_t count) {
  return count < lanes ? load_first(from, count) : load(from);
}
template <class T>
SPINECORE_INLINE void store_columns(T* to, Vec value, int64_t count) {
  if (count < lanes) {
    store_first(to, value, count);
  } else {
    store(to, value);
  }
}

// Sums the slabs of one tile, scales and stores them; the sum of squares of what this tile stands for.
inline double finish_tile(const TileGrid& g, int64_t tile, const float* tiles, const TileResult& result) {
  const TilePlace at(g, tile);
  const int64_t top = at.row * feature_panel, left = at.column * feature_panel;
  const int64_t rows = smaller(feature_panel, g.rows - top), columns = smaller(feature_panel, g.columns - left);
  const bool mirrored = g.symmetric, on_diagonal = mirrored && at.row == at.column;
  double total = 0.;
  for (int64_t i = 0; i < rows; i += lanes) {
    for (int64_t j = on_diagonal ? i : 0; j < columns; j += lanes) {
      const int64_t height = smaller(lanes, rows - i), width = smaller(lanes, columns - j);
      const bool crossing = on_diagonal && i == j;
      Vec block[lanes], squares{};
#pragma GCC unroll 16
      for (int r = 0; r < lanes; ++r) {
        block[r] = Vec{};
        if (r >= height) continue;
        const float* from = tiles + tile * tile_elements + (i + r) * feature_panel + j;
        for (int64_t slab = 0; slab < g.slabs; ++slab, from += g.tiles * tile_elements) {
          block[r] += load_columns(from, width);
        }
        block[r] *= result.scale;
        store_columns(result.to + (top + i + r) * g.columns + left + j, block[r], width);
        squares += block[r] * block[r];
      }
      if (crossing && result.diagonal_apart) {
        squares = Vec{};
        for (int r = 0; r < height; ++r) {
          Vec rest = block[r];
          rest[r] -= rest[r];  // 0, or NaN where it is not finite
          squares += rest * rest;
        }
      }
      total += (mirrored && !crossing ? 2. : 1.) * static_cast<double>(sum(squares));
      if (!mirrored || crossing) continue;
      transpose(block);
#pragma GCC unroll 16
      for (int c = 0; c < lanes; ++c) {
        if (c < width) store_columns(result.to + (left + j + c) * g.columns + top + i, block[c], height);
      }
    }
  }
  return total;
}

// Finishes all tiles; `partial` has two floats, the bytes of a double, for each of them.
[[nodiscard]] inline bool finish_tiles(const TileGrid& g, const float* tiles, const TileResult& result, float* partial,
                                       double* total) {
  const bool done = parallel_for(0, g.tiles, product_grain(16 * tile_elements), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const double squares = finish_tile(g, i, tiles, result);
      std::memcpy(partial + 2 * i, &squares, sizeof(squares));
    }
  });
  *total = 0.;
  for (int64_t i = 0; i < g.tiles; ++i) {
    double squares;
    std::memcpy(&squares, partial + 2 * i, sizeof(squares));
    *total += squares;
  }
  return done;
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
