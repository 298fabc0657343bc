#include "spinecore/feature_products.h"

#include <algorithm>

namespace spinecore {
namespace {

constexpr int64_t few_tiles = 10;     // with so few, threads share the sum and not the tiles
constexpr int64_t least_slab = 1024;  // terms of a sum worth tiles of their own
constexpr int64_t most_slabs = 8;

int64_t pieces(int64_t length, int64_t piece) { return (length + piece - 1) / piece; }

}  // namespace

TileGrid tile_grid(int64_t rows, int64_t columns, int64_t depth, bool symmetric) {
  TileGrid g{};
  g.rows = rows;
  g.columns = columns;
  g.depth = depth;
  g.symmetric = symmetric;
  g.row_panels = pieces(rows, feature_panel);
  g.column_panels = pieces(columns, feature_panel);
  g.tiles = symmetric ? g.row_panels * (g.row_panels + 1) / 2 : g.row_panels * g.column_panels;
  const int64_t wanted = g.tiles > few_tiles ? 1 : std::clamp<int64_t>(depth / least_slab, 1, most_slabs);
  g.slab_depth = std::max<int64_t>(pieces(pieces(depth, wanted), depth_block), 1) * depth_block;
  g.slabs = std::max<int64_t>(pieces(depth, g.slab_depth), 1);
  const int64_t panels = g.row_panels + (symmetric ? 0 : g.column_panels);
  g.packed_size = g.slabs * panels * packed_panel;
  g.tiles_size = g.slabs * g.tiles * feature_panel * feature_panel;
  return g;
}

StripGrid strip_grid(int64_t rows, int64_t depth, int64_t columns, bool pack_left) {
  StripGrid g{};
  g.rows = rows;
  g.depth = depth;
  g.columns = columns;
  g.pack_left = pack_left;
  g.strips = pieces(columns, feature_panel);
  g.row_blocks = pieces(rows, row_block);
  g.left_stride = depth + 16;  // no multiple of a page, where the sets of the caches collide
  g.scratch = pack_left ? row_block * g.left_stride : (depth + rows) * feature_panel;
  g.workspace = pack_left ? g.strips * depth * feature_panel : 0;
  return g;
}

}  // namespace spinecore
