// Products of blocks of pixels with packed weights, all in registers from the bias to the activation. Shared by the
// convolutions for inference and the pointwise convolution.
#pragma once

#include "spinecore/fused_conv.h"
#include "spinecore/gemm.h"
#include "spinecore/matrix.h"
#include "spinecore/rows.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

constexpr int64_t block_pixels = 48;  // whole tiles of rows for every width of panel

SPINECORE_INLINE int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// The panels of w^T for w (out, depth): padded with zeros to whole vectors.
inline void pack_panels(const FusedConvPack& p) {
  for (int64_t column = 0; column < p.out; column += panel_width) {
    const int64_t real = smaller(panel_width, p.out - column), width = round_up(real, lanes);
    float* to = p.to + column * p.depth;
    if (real < width) fill_zero(to, p.depth * width);
    transpose(p.w + column * p.depth, p.depth, real, p.depth, to, width);
  }
}

// ---- addends ------------------------------------------------------------------------------------------------------
// The four pixels of an addend around one pixel of y, and their weights.
struct Corners {
  const float* at[4];
  float weight[4];
};
constexpr int64_t most_addends = 4;

struct Axis {
  int64_t low, high;
  float part;  // of `high`
};
SPINECORE_INLINE Axis source(int64_t index, int64_t size, float scale) {
  const float place = (static_cast<float>(index) + 0.5f) * scale - 0.5f;
  const float bounded = place > 0.f ? place : 0.f;
  const int64_t low = smaller(static_cast<int64_t>(bounded), size - 1);
  return {low, smaller(low + 1, size - 1), bounded - static_cast<float>(low)};
}

// Of `count` pixels of one row of y from `x` on, addend by addend, `block_pixels` apart.
inline void find_corners(const FusedConv& a, int64_t n, int64_t y, int64_t x, int64_t count, Corners* to) {
  for (int64_t j = 0; j < a.addend_count; ++j, to += block_pixels) {
    const Pixels& image = a.addends[j];
    const float scale_y = static_cast<float>(image.height) / static_cast<float>(a.out_height);
    const float scale_x = static_cast<float>(image.width) / static_cast<float>(a.out_width);
    const Axis down = source(y, image.height, scale_y);
    const float* top = image.data + (n * image.height + down.low) * image.width * image.pixel;
    const float* bottom = image.data + (n * image.height + down.high) * image.width * image.pixel;
    for (int64_t i = 0; i < count; ++i) {
      const Axis across = source(x + i, image.width, scale_x);
      const int64_t left = across.low * image.pixel, right = across.high * image.pixel;
      to[i] = {{top + left, top + right, bottom + left, bottom + right},
               {(1.f - down.part) * (1.f - across.part), (1.f - down.part) * across.part,
                down.part * (1.f - across.part), down.part * across.part}};
    }
  }
}

// ---- products -----------------------------------------------------------------------------------------------------
// One term of the sum: `depth` values of each pixel, `step` floats from one pixel to the next.
struct Term {
  const float* a;
  int64_t step, depth;
};
constexpr int64_t most_terms = 64;

// At most block_pixels pixels of y, which follow one another in memory.
struct Block {
  Term terms[most_terms];
  int64_t term_count, pixels, first;
  Corners corners[most_addends * block_pixels];
};

// `rows` pixels from the `row`-th of the block on, `vectors` vectors of results from `column` on: all in registers from
// the bias to the activation. `last` is how many lanes of the last vector there are.
template <int rows, int vectors, FusedActivation activation>
SPINECORE_INLINE void tile(const FusedConv& a, const Block& block, int64_t row, int64_t column, int64_t last,
                           const float* b) {
  const auto get = [last](const float* from, int j) {
    return j + 1 < vectors || last == lanes ? load(from + j * lanes) : load_first(from + j * lanes, last);
  };
  Vec sums[rows][vectors] = {};
  if (a.bias) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
      const Vec value = get(a.bias + column, j);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) sums[i][j] = value;
    }
  }
  for (int64_t t = 0; t < block.term_count; ++t) {
    const int64_t step = block.terms[t].step;
    const float* from[(rows + 3) / 4];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i += 4) from[i / 4] = block.terms[t].a + (row + i) * step;
    for (int64_t k = block.terms[t].depth; k > 0; --k, b += vectors * lanes) {
      Vec weights[vectors];
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) weights[j] = load(b + j * lanes);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const Vec factor = splat(from[i / 4][i % 4 * step]);
#pragma GCC unroll 4
        for (int j = 0; j < vectors; ++j) sums[i][j] += factor * weights[j];
      }
#pragma GCC unroll 4
      for (int i = 0; i < rows; i += 4) ++from[i / 4];
    }
  }
  const int64_t offset = (block.first + row) * a.out + column;
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
      Vec value = sums[i][j];
      for (int64_t k = 0; k < a.addend_count; ++k) {
        const Corners& around = block.corners[k * block_pixels + row + i];
#pragma GCC unroll 4
        for (int corner = 0; corner < 4; ++corner) {
          value += around.weight[corner] * get(around.at[corner] + column, j);
        }
      }
      const int64_t at = offset + i * a.out;
      if (activation == FusedActivation::relu) value = value < splat(0.f) ? splat(0.f) : value;
      if (activation == FusedActivation::gate) value = sigmoid(value) * get(a.gate + at, j);
      if (j + 1 < vectors || last == lanes) {
        store(a.y + at + j * lanes, value);
      } else {
        store_first(a.y + at + j * lanes, value, last);
      }
    }
  }
}

// Asks for the inputs of a later tile: the rows of a tile are read side by side, which hardware does not foresee.
SPINECORE_INLINE void prefetch(const Block& block, int64_t row, int64_t rows) {
  for (int64_t t = 0; t < block.term_count; ++t) {
    const Term& term = block.terms[t];
    for (int64_t i = row; i < row + rows; ++i) {
      for (int64_t k = 0; k < term.depth; k += 16) __builtin_prefetch(term.a + i * term.step + k, 0, 3);
    }
  }
}

template <int vectors, FusedActivation activation>
__attribute__((noinline)) void panel(const FusedConv& a, const Block& block, int64_t column, int64_t last,
                                     const float* b) {
  constexpr int most = tile_rows<vectors>();
  int64_t row = 0;
  for (; row + most <= block.pixels; row += most) {
    if (column == 0 && a.kernel == 1) prefetch(block, row + most, most);
    tile<most, vectors, activation>(a, block, row, column, last, b);
  }
  for (; row + 4 <= block.pixels; row += 4) tile<4, vectors, activation>(a, block, row, column, last, b);
  for (; row < block.pixels; ++row) tile<1, vectors, activation>(a, block, row, column, last, b);
}

template <FusedActivation activation>
void panels(const FusedConv& a, const Block& block, int64_t depth) {
  for (int64_t column = 0; column < a.out; column += panel_width) {
    const int64_t left = a.out - column, vectors = smaller(panel_vectors, (left + lanes - 1) / lanes);
    const int64_t last = smaller(lanes, left - (vectors - 1) * lanes);
    const float* b = a.weights + column * depth;
    switch (vectors) {
      case 1:
        panel<1, activation>(a, block, column, last, b);
        break;
      case 2:
        panel<2, activation>(a, block, column, last, b);
        break;
#if defined(__AVX512F__)
      case 3:
        panel<3, activation>(a, block, column, last, b);
        break;
      case 4:
        panel<4, activation>(a, block, column, last, b);
        break;
#endif
    }
  }
}

inline void compute(const FusedConv& a, const Block& block, int64_t depth) {
  switch (a.activation) {
    case FusedActivation::none:
      return panels<FusedActivation::none>(a, block, depth);
    case FusedActivation::relu:
      return panels<FusedActivation::relu>(a, block, depth);
    case FusedActivation::gate:
      return panels<FusedActivation::gate>(a, block, depth);
  }
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
