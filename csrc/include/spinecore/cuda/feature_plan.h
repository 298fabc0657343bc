// How the work on matrices of features is split on a GPU. Knows no CUDA header.
#pragma once

#include <algorithm>
#include <cstdint>

namespace spinecore::cuda {

constexpr int product_tile = 64, product_step = 16;
constexpr int statistics_columns = 32, statistics_rows = 32;  // of a block at once

// Tiles of a product (m, n), summed over k by `splits` blocks each. A triangle holds the tiles (i, j), i <= j.
struct ProductPlan {
  int m = 0, n = 0, k = 0;
  bool triangle = false;
  int tile_columns = 0, tiles = 0, splits = 1, split_depth = 0;
  int64_t tickets = 0, workspace = 0;  // floats; tickets first
};

// Two blocks for each multiprocessor of the largest GPUs.
constexpr int product_blocks = 264;

// Split until there are about `blocks` of them, but with at least 64 terms of each sum.
inline ProductPlan product_plan(int m, int n, int k, bool triangle, int blocks = product_blocks) {
  ProductPlan plan;
  plan.m = m;
  plan.n = n;
  plan.k = k;
  plan.triangle = triangle;
  const auto count = [](int size) { return (size + product_tile - 1) / product_tile; };
  plan.tile_columns = count(n);
  plan.tiles = triangle ? plan.tile_columns * (plan.tile_columns + 1) / 2 : count(m) * plan.tile_columns;
  const int steps = (k + product_step - 1) / product_step, wanted = std::max(1, blocks / plan.tiles);
  const int steps_a_split = std::max((steps + wanted - 1) / wanted, std::min(steps, 4));
  plan.splits = (steps + steps_a_split - 1) / steps_a_split;
  plan.split_depth = steps_a_split * product_step;
  plan.tickets = plan.splits > 1 ? (plan.tiles + 3) / 4 * 4 : 0;
  const int64_t partials = int64_t{plan.tiles} * plan.splits * product_tile * product_tile;
  plan.workspace = plan.tickets + (plan.splits > 1 ? partials : 0);
  return plan;
}

// Sums over the rows of (rows, columns) by strips of columns, `chunks` blocks each.
struct StatisticsPlan {
  int strips = 0, chunks = 1, chunk_rows = 0;
  int64_t tickets = 0, workspace = 0;
};

// Where the variance is wanted too, one block has all rows of its strip.
inline StatisticsPlan statistics_plan(int rows, int columns, bool whole) {
  StatisticsPlan plan;
  plan.strips = (columns + statistics_columns - 1) / statistics_columns;
  const int turns = (rows + statistics_rows - 1) / statistics_rows;
  const int wanted = whole ? 1 : std::max(1, 512 / plan.strips);
  const int turns_a_chunk = std::max((turns + wanted - 1) / wanted, std::min(turns, 4));
  plan.chunk_rows = (whole ? turns : turns_a_chunk) * statistics_rows;
  plan.chunks = (rows + plan.chunk_rows - 1) / plan.chunk_rows;
  plan.tickets = (plan.strips + 3) / 4 * 4;
  // A double for every column and the count of rows of each chunk.
  plan.workspace = plan.tickets + 2 * int64_t{plan.strips} * plan.chunks * (statistics_columns + 2);
  return plan;
}

}  // namespace spinecore::cuda
