// Small dense matrix products in registers. In the namespace of the instruction set, like simd.h.
//
//   C[m][n] (+)= sum_k A[m * a_row + k * a_col] * B[k * b_row + n]
//
// Rows of B and of C lie together; A is read one element at a time, so that it may be transposed at no cost. Callers
// block and pack so that B stays in the caches. What C held is added last: long sums in blocks of `depth` terms lose
// fewer digits than one chain.
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

// What a step does with one element of A and a vector of B: one term of each sum, or with PairTerms (bf16_pairs.h) two.
struct SingleTerms {
  static SPINECORE_INLINE Vec factor(const float* a) { return splat(*a); }
  static SPINECORE_INLINE Vec add(Vec sum, Vec factor, Vec row) { return sum + factor * row; }
};

struct Product {
  int64_t depth;  // terms of each sum
  const float* a;
  int64_t a_row, a_col;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
};

// `rows` rows and `vectors` vectors of C from the corner of `p` on, all in registers.
template <class Terms, int rows, int vectors, bool accumulate>
SPINECORE_INLINE void gemm_tile(const Product& p, const float* a, int64_t a_row, int64_t a_col, float* c) {
  Vec sums[rows][vectors];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) sums[i][j] = Vec{};
  }
  const float* b = p.b;
  for (int64_t k = p.depth; k > 0; --k, a += a_col, b += p.b_row) {
    Vec row[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) row[j] = load(b + j * lanes);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const Vec factor = Terms::factor(a + i * a_row);
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sums[i][j] = Terms::add(sums[i][j], factor, row[j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
      float* to = c + i * p.c_row + j * lanes;
      // What was there is added last: sums of sums round less than one long sum.
      store(to, accumulate ? load(to) + sums[i][j] : sums[i][j]);
    }
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

// `rows` rows against one panel of `vectors` vectors. `constant_row` is the distance of rows of A where it is known,
// else 0: distances of 16 rows fill all registers for addresses, constants need none.
template <class Terms, int vectors, bool accumulate, int64_t constant_row>
__attribute__((noinline)) void gemm_rows(int64_t rows, const Product product) {
  constexpr int most = tile_rows<vectors>();
  const Product p = product;
  const int64_t a_row = constant_row ? constant_row : p.a_row, a_col = constant_row > 1 ? 1 : p.a_col;
  const float* a = p.a;
  float* c = p.c;
  while (rows > 0) {
    const int64_t count = next_rows<vectors>(rows);
    switch (count) {
      case 1:
        gemm_tile<Terms, 1, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
      case 2:
        gemm_tile<Terms, 2, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
      case 3:
        gemm_tile<Terms, 3, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
      case 4:
        gemm_tile<Terms, 4, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
      case 5:
        gemm_tile<Terms, 5, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
      case 6:
        gemm_tile<Terms, 6, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
      case 8:
        if constexpr (most >= 8) gemm_tile<Terms, 8, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
      case 12:
        if constexpr (most >= 12) gemm_tile<Terms, 12, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
      case 16:
        if constexpr (most >= 16) gemm_tile<Terms, 16, vectors, accumulate>(p, a, a_row, a_col, c);
        break;
    }
    rows -= count;
    a += count * a_row;
    c += count * p.c_row;
  }
}

// One panel of at most panel_vectors vectors. With `constant_row`, a_row is that; unless it is 1, A transposed, a_col
// is 1.
template <bool accumulate, int64_t constant_row = 0, class Terms = SingleTerms>
void gemm_panel(int64_t rows, int64_t vectors, const Product& p) {
  switch (vectors) {
    case 1:
      return gemm_rows<Terms, 1, accumulate, constant_row>(rows, p);
    case 2:
      return gemm_rows<Terms, 2, accumulate, constant_row>(rows, p);
#if defined(__AVX512F__)
    case 3:
      return gemm_rows<Terms, 3, accumulate, constant_row>(rows, p);
    case 4:
      return gemm_rows<Terms, 4, accumulate, constant_row>(rows, p);
#endif
  }
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
