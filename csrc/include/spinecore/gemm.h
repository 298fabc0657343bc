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
template <int rows, int vectors, bool accumulate>
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
      const Vec factor = splat(a[i * a_row]);
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sums[i][j] += factor * row[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
      float* to = c + i * p.c_row + j * lanes;
      store(to, accumulate ? load(to) + sums[i][j] : sums[i][j]);
    }
  }
}

// `rows` rows against one panel of `vectors` vectors. `constant_row` is the distance of rows of A where it is known,
// else 0: distances of 16 rows fill all registers for addresses, constants need none.
template <int vectors, bool accumulate, int64_t constant_row>
__attribute__((noinline)) void gemm_rows(int64_t rows, const Product product) {
  constexpr int most = tile_rows<vectors>();
  const Product p = product;
  const int64_t a_row = constant_row ? constant_row : p.a_row, a_col = constant_row ? 1 : p.a_col;
  const float* a = p.a;
  float* c = p.c;
  const auto advance = [&](int count) {
    rows -= count;
    a += count * a_row;
    c += count * p.c_row;
  };
  for (; rows >= most; advance(most)) gemm_tile<most, vectors, accumulate>(p, a, a_row, a_col, c);
  if constexpr (most > 8) {
    for (; rows >= 8; advance(8)) gemm_tile<8, vectors, accumulate>(p, a, a_row, a_col, c);
  }
  for (; rows >= 4; advance(4)) gemm_tile<4, vectors, accumulate>(p, a, a_row, a_col, c);
  for (; rows >= 1; advance(1)) gemm_tile<1, vectors, accumulate>(p, a, a_row, a_col, c);
}

// One panel of at most panel_vectors vectors. With `constant_row`, a_row is that and a_col is 1.
template <bool accumulate, int64_t constant_row = 0>
void gemm_panel(int64_t rows, int64_t vectors, const Product& p) {
  switch (vectors) {
    case 1:
      return gemm_rows<1, accumulate, constant_row>(rows, p);
    case 2:
      return gemm_rows<2, accumulate, constant_row>(rows, p);
#if defined(__AVX512F__)
    case 3:
      return gemm_rows<3, accumulate, constant_row>(rows, p);
    case 4:
      return gemm_rows<4, accumulate, constant_row>(rows, p);
#endif
  }
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
