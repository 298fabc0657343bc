#include "spinecore/feature_products.h"

#include <algorithm>

namespace spinecore {
namespace {

constexpr int64_t few_tiles = 10;     // with so few, threads share the sum and not the tiles
constexpr int64_t least_slab = 1024;  // terms of a sum worth tiles of their own
constexpr int64_t most_slabs = 8, most_units = 16;

int64_t pieces(int64_t length, int64_t piece) { return (length + piece - 1) / piece; }

}  // namespace

TileGrid tile_grid(int64_t rows, int64_t columns, int64_t depth, bool symmetric) {
  const int64_t row_panels = pieces(rows, feature_panel), column_panels = pieces(columns, feature_panel);
  const int64_t tiles = symmetric ? row_panels * (row_panels + 1) / 2 : row_panels * column_panels;
  const int64_t wanted = tiles > few_tiles ? 1 : std::clamp<int64_t>(depth / least_slab, 1, most_slabs);
  const int64_t slab_depth = std::max<int64_t>(pieces(pieces(depth, wanted), depth_block), 1) * depth_block;
  const int64_t slabs = std::max<int64_t>(pieces(depth, slab_depth), 1);
  return {rows, columns, depth, symmetric, row_panels, column_panels, tiles, slabs, slab_depth};
}

StripGrid strip_grid(int64_t rows, int64_t depth, int64_t columns, bool pack_left) {
  StripGrid grid{rows, depth, columns, pack_left, 0, 0};
  grid.units = std::min(pack_left ? grid.row_blocks() : grid.strips(), most_units);
  // Row by row: a block of packed rows. Strip by strip: the packed strip, and all rows of the result in it.
  grid.scratch = pack_left ? row_block * grid.left_stride() : (depth + rows) * feature_panel;
  return grid;
}

}  // namespace spinecore
