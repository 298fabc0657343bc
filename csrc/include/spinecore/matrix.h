// Products of whole matrices over the tiles of gemm.h, and the copies that prepare them. Column counts are multiples of
// `lanes`. In the namespace of the instruction set, like simd.h.
#pragma once

#include <cstdint>
#include <utility>

#include "spinecore/gemm.h"
#include "spinecore/rows.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Element (m, k) of a left factor lies at data[m * row + k * column]: transposed at no cost.
struct Left {
  const float* data;
  int64_t row, column;
};

// A right factor: rows `row` elements apart, or packed into panels of panel_width columns, one after the other.
struct Right {
  const float* data;
  int64_t row;  // 0: packed

  const float* panel(int64_t column, int64_t depth) const { return data + (row == 0 ? column * depth : column); }
};

SPINECORE_INLINE Left as_it_is(const float* data, int64_t row) { return {data, row, 1}; }
SPINECORE_INLINE Left transposed(const float* data, int64_t row) { return {data, 1, row}; }
SPINECORE_INLINE Right packed(const float* data) { return {data, 0}; }
SPINECORE_INLINE Right in_rows(const float* data, int64_t row) { return {data, row}; }

// c (rows, columns) (+)= a (rows, depth) b (depth, columns)
template <bool accumulate = false, class Terms = SingleTerms>
void multiply(int64_t rows, int64_t columns, int64_t depth, Left a, Right b, float* c, int64_t c_row) {
  for (int64_t j = 0; j < columns; j += panel_width) {
    const int64_t width = smaller(panel_width, columns - j);
    gemm_panel<accumulate, 0, Terms>(
        rows, width / lanes,
        {depth, a.data, a.row, a.column, b.panel(j, depth), b.row == 0 ? width : b.row, c + j, c_row});
  }
}

// Rows [begin, end) of a (depth, columns) matrix into the panels of a right factor.
inline void pack_rows(const float* from, int64_t row, int64_t begin, int64_t end, int64_t depth, int64_t columns,
                      float* to) {
  for (int64_t j = 0; j < columns; j += panel_width) {
    const int64_t width = smaller(panel_width, columns - j);
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t i = 0; i < width; i += lanes) store(to + j * depth + k * width + i, load(from + k * row + j + i));
    }
  }
}

template <int... I>
SPINECORE_INLINE void interleave(Vec a, Vec b, Vec& low, Vec& high, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  low = __builtin_shufflevector(a, b, (I / 2 + I % 2 * lanes)...);
  high = __builtin_shufflevector(a, b, (lanes / 2 + I / 2 + I % 2 * lanes)...);
#else
  low = __builtin_shuffle(a, b, VecInt{(I / 2 + I % 2 * lanes)...});
  high = __builtin_shuffle(a, b, VecInt{(lanes / 2 + I / 2 + I % 2 * lanes)...});
#endif
}

// A square of `lanes` rows: interleaving rows i and i + lanes / 2 as often as lanes can be halved transposes it.
inline void transpose_square(const float* from, int64_t row, float* to, int64_t to_row) {
  Vec rows[lanes], next[lanes];
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) rows[i] = load(from + i * row);
#pragma GCC unroll 4
  for (int step = 1; step < lanes; step *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      interleave(rows[i], rows[i + lanes / 2], next[2 * i], next[2 * i + 1], std::make_integer_sequence<int, lanes>());
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) store(to + i * to_row, rows[i]);
}

// to (columns, rows) = from (rows, columns) transposed.
inline void transpose(const float* from, int64_t row, int64_t rows, int64_t columns, float* to, int64_t to_row) {
  for (int64_t i0 = 0; i0 < rows; i0 += lanes) {
    for (int64_t j0 = 0; j0 < columns; j0 += lanes) {
      if (i0 + lanes <= rows && j0 + lanes <= columns) {
        transpose_square(from + i0 * row + j0, row, to + j0 * to_row + i0, to_row);
        continue;
      }
      for (int64_t j = j0; j < smaller(j0 + lanes, columns); ++j) {
        for (int64_t i = i0; i < smaller(i0 + lanes, rows); ++i) to[j * to_row + i] = from[i * row + j];
      }
    }
  }
}

// The transpose of `from` (rows, columns) as rows [first, first + columns) of a packed right factor of `depth` rows and
// `rows` columns.
inline void pack_transposed(const float* from, int64_t row, int64_t rows, int64_t columns, int64_t first, int64_t depth,
                            float* to) {
  for (int64_t j = 0; j < rows; j += panel_width) {
    const int64_t width = smaller(panel_width, rows - j);
    transpose(from + j * row, row, width, columns, to + j * depth + first * width, width);
  }
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
