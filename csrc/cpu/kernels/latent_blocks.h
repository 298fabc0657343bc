// What the latent poolings do with a block of tokens: gather the unmasked ones, take exponentials, scatter results.
#pragma once

#include <cstdint>

#include "spinecore/latent_pool.h"
#include "spinecore/matrix.h"
#include "spinecore/parallel.h"
#include "spinecore/rows.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

constexpr int64_t most_block = 256;           // tokens of a block, at most
constexpr int64_t task_multiplies = 1 << 20;  // least work worth a thread
constexpr float minus_infinity = -__builtin_inff();

SPINECORE_INLINE int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }
SPINECORE_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }

// exp(x) for x <= 0, zero where that is below the normal numbers; NaN stays NaN.
SPINECORE_INLINE Vec exp_nonpositive(Vec x) {
  const Vec low = splat(-87.f);
  const Vec value = exp_bounded(x < low ? low : x);
  return x < low ? Vec{} : value;
}

// The unmasked tokens of [begin, end), a block at a time.
struct Block {
  int64_t count = 0;
  int64_t token[most_block];
};
class Tokens {
 public:
  Tokens(const float* mask, int64_t begin, int64_t end, int64_t most)
      : mask_(mask), next_(begin), end_(end), most_(most) {}

  int64_t begin() const { return next_; }
  int64_t end() const { return end_; }

  bool take(Block& block) {
    block.count = 0;
    for (; next_ < end_ && block.count < most_; ++next_) {
      block.token[block.count] = next_;
      block.count += mask_ == nullptr || mask_[next_] != 0.f;
    }
    return block.count > 0;
  }

 private:
  const float* mask_;
  int64_t next_, end_, most_;
};

// Whether the tokens of a block follow one another.
inline bool is_run(const Block& block) { return block.token[block.count - 1] - block.token[0] == block.count - 1; }

// Tokens of a block as rows of float32, zeros behind their width.
template <class T>
void gather(const T* x, int64_t width, const Block& block, int64_t padded, float* to, int64_t to_row) {
  for (int64_t n = 0; n < block.count; ++n, to += to_row) {
    const T* from = x + block.token[n] * width;
    int64_t i = 0;
    for (; i + lanes <= width; i += lanes) store(to + i, load(from + i));
    if (i < width) {
      store(to + i, load_first(from + i, width - i));
      i += lanes;
    }
    for (; i < padded; i += lanes) store(to + i, Vec{});
  }
}

template <class T>
void scatter(const float* from, int64_t from_row, const Block& block, int64_t width, T* x) {
  for (int64_t n = 0; n < block.count; ++n, from += from_row) {
    T* to = x + block.token[n] * width;
    each_vector(width, [&](int64_t i, auto access) { access.put(to + i, load(from + i)); });
  }
}

// Zero rows for the masked tokens of [begin, end).
template <class T>
void clear_masked(const float* mask, int64_t begin, int64_t end, int64_t width, T* x) {
  for (int64_t n = begin; mask != nullptr && n < end; ++n) {
    if (mask[n] == 0.f) each_vector(width, [&](int64_t i, auto access) { access.put(x + n * width + i, Vec{}); });
  }
}

// scores (tokens, head and row) += bias (row, token), the same for every head.
inline void add_bias(const float* bias, int64_t tokens, int64_t rows, int64_t heads, int64_t head_columns,
                     const Block& block, float* scores, int64_t row) {
  for (int64_t n = 0; n < block.count; ++n, scores += row) {
    for (int64_t r = 0; r < rows; ++r) {
      const float value = bias[r * tokens + block.token[n]];
      for (int64_t h = 0; h < heads; ++h) scores[h * head_columns + r] += value;
    }
  }
}

// Scores of one block to exponentials below the largest score so far, `top`, whose sum is `total`. factor[i] is what
// earlier results of column i must be multiplied with.
inline void online_softmax(float* scores, int64_t row, int64_t count, int64_t columns, float* top, float* total,
                           float* factor) {
  for (int64_t i = 0; i < columns; i += lanes) {
    float* column = scores + i;
    const Vec before = load(top + i);
    Vec most[4] = {before, before, before, before};
    int64_t n = 0;
    for (; n + 4 <= count; n += 4) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) most[k] = larger(load(column + (n + k) * row), most[k]);
    }
    for (; n < count; ++n) most[0] = larger(load(column + n * row), most[0]);
    const Vec now = larger(larger(most[0], most[1]), larger(most[2], most[3]));
    const Vec base = now == splat(minus_infinity) ? Vec{} : now;
    Vec sum{};
    for (n = 0; n < count; ++n) {
      const Vec value = exp_nonpositive(load(column + n * row) - base);
      store(column + n * row, value);
      sum += value;
    }
    const Vec scale = exp_nonpositive(before - base);
    store(factor + i, scale);
    store(total + i, load(total + i) * scale + sum);
    store(top + i, now);
  }
}

SPINECORE_INLINE void scale_row(float* row, float factor, int64_t length) {
  for (int64_t i = 0; i < length; i += lanes) store(row + i, load(row + i) * factor);
}

inline void fill(float* to, float value, int64_t length) {
  for (int64_t i = 0; i < length; ++i) to[i] = value;
}

// body(first column, columns) for panels of a product with `rows` rows and `depth` terms, on as many threads as its
// work is worth.
template <class Body>
bool over_panels(int64_t columns, int64_t rows, int64_t depth, const Body& body) {
  const int64_t panels = (columns + panel_width - 1) / panel_width;
  const int64_t grain = 1 + task_multiplies / (1 + panel_width * rows * depth);
  return parallel_for(0, panels, grain, [&](int64_t begin, int64_t end) {
    body(begin * panel_width, smaller(end * panel_width, columns) - begin * panel_width);
  });
}

// The same for rows, cut at multiples of 16.
template <class Body>
bool over_rows(int64_t rows, int64_t columns, int64_t depth, const Body& body) {
  constexpr int64_t step = 16;
  const int64_t grain = 1 + task_multiplies / (1 + step * columns * depth);
  return parallel_for(0, (rows + step - 1) / step, grain,
                      [&](int64_t begin, int64_t end) { body(begin * step, smaller(end * step, rows)); });
}

using Geometry = LatentPoolGeometry;

SPINECORE_INLINE int64_t padded_rows(const Geometry& g) { return round_up(g.rows, latent_padding); }
SPINECORE_INLINE int64_t keys_row(const Geometry& g) { return g.columns + latent_row_gap; }
SPINECORE_INLINE int64_t token_row(const Geometry& g) { return g.padded + latent_row_gap; }

// scale * table (R, D) w (D, heads * d), and its transpose (heads * d, padded R).
inline bool project_table(const Geometry& g, const float* table, const float* w, float scale, float* to, float* to_t) {
  const bool done = over_panels(g.inner, g.rows, g.padded, [&](int64_t j, int64_t width) {
    multiply(g.rows, width, g.padded, as_it_is(table, g.padded), in_rows(w + j, g.inner), to + j, g.inner);
  });
  scale_row(to, scale, g.rows * g.inner);
  fill_zero(to_t, g.inner * padded_rows(g));
  transpose(to, g.inner, g.rows, g.inner, to_t, padded_rows(g));
  return done;
}

// Rows [begin, end) of w (D, heads * d) times vectors (heads * d, R), head by head: (D, heads and rows), the vectors
// absorbed into the projection.
inline void absorb(const Geometry& g, const float* w, const float* vectors, int64_t vectors_row, int64_t begin,
                   int64_t end, float* to) {
  const int64_t row = keys_row(g), used = g.heads * g.head_columns;
  to += begin * row;
  // Where heads are not apart, the padding of one is overwritten by the next.
  for (int64_t h = 0; h < g.heads; ++h) {
    multiply(end - begin, padded_rows(g), g.head, as_it_is(w + begin * g.inner + h * g.head, g.inner),
             in_rows(vectors + h * g.head * vectors_row, vectors_row), to + h * g.head_columns, row);
  }
  for (int64_t i = begin; i < end; ++i, to += row) fill(to + used, 0.f, g.columns - used);
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
