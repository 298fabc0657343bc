// Products of feature matrices, cut into tiles: what callers and kernels agree on before any memory is touched. All of
// it follows from the shapes, so that a result never depends on the number of threads.
#pragma once

#include <cstdint>

namespace spinecore {

constexpr int64_t feature_panel = 64;  // rows and columns of a tile, columns of a packed panel
constexpr int64_t depth_block = 256;   // terms of a sum that are packed together
constexpr int64_t packed_panel = depth_block * feature_panel + 16;  // not all panels in the same sets of the caches
constexpr int64_t row_block = 96;                                   // rows of a result that are computed together
constexpr int64_t sum_rows_block = 32;                              // rows summed in float32 before double takes over

// The product sum_k a[k][i] b[k][j], i < rows, j < columns. A symmetric one (b is a) computes its upper triangle. Slabs
// cut the sum where there are too few tiles for several threads; each has tiles of its own.
struct TileGrid {
  int64_t rows, columns, depth;
  bool symmetric;
  int64_t row_panels, column_panels, tiles;
  int64_t slabs, slab_depth;
  int64_t packed_size, tiles_size;  // workspaces, in floats
};

// The product left (rows, depth) * right (depth, columns).
struct StripGrid {
  int64_t rows, depth, columns;
  bool pack_left;  // rows of left and all of right are packed; else strips of right alone, and left is read as it lies
  int64_t strips, row_blocks;
  int64_t left_stride;  // of packed rows of left
  int64_t scratch;      // floats a thread needs: a block of packed rows; or a packed strip and the result in it
  int64_t workspace;    // floats: all of right, packed
};

TileGrid tile_grid(int64_t rows, int64_t columns, int64_t depth, bool symmetric);
StripGrid strip_grid(int64_t rows, int64_t depth, int64_t columns, bool pack_left);

}  // namespace spinecore
