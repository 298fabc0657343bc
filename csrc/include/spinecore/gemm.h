// Small dense matrix products in registers. In the namespace of the instruction set, like simd.h.
//
//   C[m][n] (+)= sum_k A[m * a_row + k * a_col] * B[k * b_row + n]
//
// Rows of B and of C lie together; A is read one element at a time, so that it may be transposed at no cost. Callers
// block and pack so that B stays in the caches.
#pragma once

#include <cstdint>

#include "spinecore/simd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Vectors of a full panel of columns, and rows of the largest tile: accumulators, one row of B and one element of A
// fill the vector registers (32 with AVX-512, else 16).
#if defined(__AVX512F__)
constexpr int panel_vectors = 4;
#else
constexpr int panel_vectors = 2;
#endif
constexpr int panel_width = panel_vectors * lanes;

template <int vectors>
constexpr int tile_rows() {
#if defined(__AVX512F__)
  return vectors == 4 ? 6 : vectors == 3 ? 8 : vectors == 2 ? 12 : 16;
#else
  return vectors == 2 ? 6 : 12;
#endif
}

struct Product {
  int64_t depth;  // terms of each sum
  const float* a;
  int64_t a_row, a_col;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
};

template <int rows, int vectors, bool accumulate>
__attribute__((noinline)) void gemm_tile(const Product& p) {
  Vec sums[rows][vectors];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) sums[i][j] = accumulate ? load(p.c + i * p.c_row + j * lanes) : Vec{};
  }
  const float *a = p.a, *b = p.b;
  const int64_t a_row = p.a_row, a_col = p.a_col, b_row = p.b_row;
  for (int64_t k = p.depth; k > 0; --k, a += a_col, b += b_row) {
    Vec row[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) row[j] = load(b + j * lanes);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const Vec factor = splat(a[i * a_row]);
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sums[i][j] += factor * row[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) store(p.c + i * p.c_row + j * lanes, sums[i][j]);
  }
}

// Rows of the next tile: full tiles, and what is left over in two of about the same size, because a tile of one or two
// rows waits for memory.
template <int vectors>
constexpr int64_t next_rows(int64_t rows) {
  constexpr int most = tile_rows<vectors>();
  if (rows >= 2 * most || rows == most) return most;
  const int64_t wanted = rows > most || rows > 6 ? (rows + 1) / 2 : rows;
  return wanted <= 6 ? wanted : wanted <= 8 ? 8 : 12;
}

// `rows` rows against one panel of `vectors` vectors.
template <int vectors, bool accumulate>
void gemm_rows(int64_t rows, Product p) {
  constexpr int most = tile_rows<vectors>();
  while (rows > 0) {
    const int64_t count = next_rows<vectors>(rows);
    switch (count) {
      case 1:
        gemm_tile<1, vectors, accumulate>(p);
        break;
      case 2:
        gemm_tile<2, vectors, accumulate>(p);
        break;
      case 3:
        gemm_tile<3, vectors, accumulate>(p);
        break;
      case 4:
        gemm_tile<4, vectors, accumulate>(p);
        break;
      case 5:
        gemm_tile<5, vectors, accumulate>(p);
        break;
      case 6:
        gemm_tile<6, vectors, accumulate>(p);
        break;
      case 8:
        if constexpr (most >= 8) gemm_tile<8, vectors, accumulate>(p);
        break;
      case 12:
        if constexpr (most >= 12) gemm_tile<12, vectors, accumulate>(p);
        break;
      case 16:
        if constexpr (most >= 16) gemm_tile<16, vectors, accumulate>(p);
        break;
    }
    p.a += count * p.a_row;
    p.c += count * p.c_row;
    rows -= count;
  }
}

// One panel of at most panel_vectors vectors.
template <bool accumulate>
void gemm_panel(int64_t rows, int64_t vectors, const Product& p) {
  switch (vectors) {
    case 1:
      return gemm_rows<1, accumulate>(rows, p);
    case 2:
      return gemm_rows<2, accumulate>(rows, p);
#if defined(__AVX512F__)
    case 3:
      return gemm_rows<3, accumulate>(rows, p);
    case 4:
      return gemm_rows<4, accumulate>(rows, p);
#endif
  }
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
