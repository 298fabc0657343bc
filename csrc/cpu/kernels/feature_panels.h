// Matrices of features, read as (value - mean) * scale and packed into panels for the products. In the namespace of the
// instruction set, like simd.h. The mean has two parts: where it is large beside the deviations, value - mean is exact,
// and the mean's own rounding would be what is left of their digits.
#pragma once

#include <cstdint>

#include "spinecore/feature_products.h"
#include "spinecore/gemm.h"
#include "spinecore/parallel.h"
#include "spinecore/rows.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

static_assert(feature_panel % panel_width == 0, "a packed panel holds whole panels of the products");

struct Features {
  const void* data;
  bool half;  // bfloat16
  int64_t rows, width;
  const float* mean;   // (2, width): the mean and what float32 leaves of it; or null: 0
  const float* scale;  // (rows,), or null: 1. A row whose scale is 0 is zero, whatever it holds.

  const float* mean_rest() const { return mean + width; }
  float row_scale(int64_t row) const { return scale == nullptr ? 1.f : scale[row]; }
};

template <class Body>
SPINECORE_INLINE void with_elements(const Features& f, const Body& body) {
  if (f.half) {
    body(static_cast<const BFloat16*>(f.data));
  } else {
    body(static_cast<const float*>(f.data));
  }
}

inline int64_t round_up(int64_t length, int64_t to) { return (length + to - 1) / to * to; }

// ---- transposition ------------------------------------------------------------------------------------------------
template <int step, int... I>
SPINECORE_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  const Vec low = __builtin_shufflevector(a, b, ((I & step) == 0 ? I : lanes + I - step)...);
  const Vec high = __builtin_shufflevector(a, b, ((I & step) == 0 ? I + step : lanes + I)...);
#else
  const Vec low = __builtin_shuffle(a, b, VecInt{((I & step) == 0 ? I : lanes + I - step)...});
  const Vec high = __builtin_shuffle(a, b, VecInt{((I & step) == 0 ? I + step : lanes + I)...});
#endif
  a = low;
  b = high;
}

template <int step>
SPINECORE_INLINE void exchange_all(Vec (&block)[lanes]) {
  if constexpr (step < lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if ((i & step) == 0) exchange<step>(block[i], block[i + step], std::make_integer_sequence<int, lanes>());
    }
    exchange_all<2 * step>(block);
  }
}

SPINECORE_INLINE void transpose(Vec (&block)[lanes]) { exchange_all<1>(block); }

// ---- packing ------------------------------------------------------------------------------------------------------
// to[c] = factor * (from[c] - mean[column + c]), c < width.
template <class T>
SPINECORE_INLINE void centre_row(const T* from, const Features& f, int64_t column, int64_t width, float factor,
                                 float* to) {
  if (f.mean == nullptr) {
    each_vector(width, [&](int64_t c, auto access) { access.put(to + c, access.get(from + c) * factor); });
    return;
  }
  const float *mean = f.mean + column, *rest = f.mean_rest() + column;
  each_vector(width, [&](int64_t c, auto access) {
    access.put(to + c, (access.get(from + c) - access.get(mean + c) - access.get(rest + c)) * factor);
  });
}

// to[r * feature_panel + c] = factor * f[begin + r][column + c], zero beyond the width.
template <class T>
SPINECORE_INLINE void pack_row(const T* data, const Features& f, int64_t row, int64_t column, float factor, float* to) {
  const int64_t width = smaller(feature_panel, f.width - column);
  const float scale = f.row_scale(row);
  if (scale == 0.f || width < feature_panel) fill_zero(to, feature_panel);
  if (scale == 0.f) return;
  const T* from = data + row * f.width + column;
  if (width == feature_panel) {
    centre_row(from, f, column, feature_panel, factor * scale, to);
  } else {
    centre_row(from, f, column, width, factor * scale, to);
  }
}

inline void pack_strip(const Features& f, int64_t column, int64_t begin, int64_t rows, float factor, float* to) {
  with_elements(f, [&](auto* data) {
    for (int64_t r = 0; r < rows; ++r) pack_row(data, f, begin + r, column, factor, to + r * feature_panel);
  });
}

// The same for all strips, `strip_size` apart: whole rows are read, in the order in which they lie.
inline void pack_strips(const Features& f, int64_t begin, int64_t rows, int64_t strip_size, float* to) {
  with_elements(f, [&](auto* data) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t column = 0, i = 0; column < f.width; column += feature_panel, ++i) {
        pack_row(data, f, begin + r, column, 1.f, to + i * strip_size + r * feature_panel);
      }
    }
  });
}

// to[c] = sum of squares over the rows of a packed strip, c < width, in blocks like those of column_sums.
inline void strip_squares(const float* packed, int64_t rows, int64_t width, float* to) {
  constexpr int vectors = feature_panel / lanes;
  Vec total[vectors] = {};
  for (int64_t begin = 0; begin < rows; begin += sum_rows_block) {
    Vec part[vectors] = {};
    for (int64_t r = begin; r < smaller(rows, begin + sum_rows_block); ++r) {
#pragma GCC unroll 16
      for (int j = 0; j < vectors; ++j) {
        const Vec value = load(packed + r * feature_panel + j * lanes);
        part[j] += value * value;
      }
    }
#pragma GCC unroll 16
    for (int j = 0; j < vectors; ++j) total[j] += part[j];
  }
#pragma GCC unroll 16
  for (int j = 0; j < vectors; ++j) {
    if (width >= (j + 1) * lanes) {
      store(to + j * lanes, total[j]);
    } else if (width > j * lanes) {
      store_first(to + j * lanes, total[j], width - j * lanes);
    }
  }
}

// to[c * feature_panel + r] = factor * f[first + r][column + c], zero for rows beyond the last.
template <class T>
void pack_transposed_of(const T* data, const Features& f, int64_t first, int64_t column, int64_t columns, float factor,
                        float* to) {
  const int64_t rows = smaller(feature_panel, f.rows - first);
  for (int64_t r = 0; r < rows; r += lanes) {
    const auto strip = [&](int64_t c, auto access) {
      const Vec mean = f.mean == nullptr ? Vec{} : access.get(f.mean + column + c);
      const Vec rest = f.mean == nullptr ? Vec{} : access.get(f.mean_rest() + column + c);
      Vec block[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        block[i] = Vec{};
        const int64_t row = first + r + i;
        const float scale = r + i < rows ? f.row_scale(row) : 0.f;
        if (scale != 0.f) {
          block[i] = (access.get(data + row * f.width + column + c) - mean - rest) * (factor * scale);
        }
      }
      transpose(block);
      const int64_t count = smaller(lanes, columns - c);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        if (i < count) store(to + (c + i) * feature_panel + r, block[i]);
      }
    };
    each_vector(columns, strip);
  }
}

inline void pack_transposed(const Features& f, int64_t first, int64_t column, int64_t columns, float factor,
                            float* to) {
  with_elements(f, [&](auto* data) { pack_transposed_of(data, f, first, column, columns, factor, to); });
}

// to[r * stride + c] = f[begin + r][c]
inline void pack_rows(const Features& f, int64_t begin, int64_t rows, int64_t stride, float* to) {
  with_elements(f, [&](auto* data) {
    for (int64_t r = 0; r < rows; ++r, to += stride) {
      const float scale = f.row_scale(begin + r);
      if (scale == 0.f) {
        fill_zero(to, f.width);
      } else {
        centre_row(data + (begin + r) * f.width, f, 0, f.width, scale, to);
      }
    }
  });
}

// ---- statistics of columns ----------------------------------------------------------------------------------------
enum class Sum { deviations, squares };  // of value - origin, or ((value - mean) * scale)^2

// to[c] = sum of what `rows` rows hold; `from` is the origin, or the mean in its two parts.
template <Sum what, int rows, class T>
SPINECORE_INLINE void add_rows(const T* const (&row)[rows], const float (&scale)[rows], const float* from,
                               int64_t width, float* to) {
  each_vector(width, [&](int64_t c, auto access) {
    const Vec mean = access.get(from + c);
    Vec total = access.get(to + c);
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
      Vec value = access.get(row[i] + c) - mean;
      if constexpr (what == Sum::squares) {
        value = (value - access.get(from + width + c)) * scale[i];
        value = value * value;
      }
      total += value;
    }
    access.put(to + c, total);
  });
}

// Rows that do not count are left out; the others are read four at a time, in the order in which they lie.
template <Sum what, class T>
void column_sums_of(const T* data, const Features& f, const float* from, int64_t begin, int64_t end, float* partial) {
  fill_zero(partial, f.width);
  const T* row[4];
  float scale[4];
  int count = 0;
  for (int64_t r = begin; r < end; ++r) {
    scale[count] = f.row_scale(r);
    if (scale[count] == 0.f) continue;
    row[count++] = data + r * f.width;
    if (count == 4) {
      add_rows<what>(row, scale, from, f.width, partial);
      count = 0;
    }
  }
  for (int i = 0; i < count; ++i) {
    const T* const one[1] = {row[i]};
    const float by[1] = {scale[i]};
    add_rows<what>(one, by, from, f.width, partial);
  }
}

inline int64_t sum_blocks(const Features& f) { return (f.rows + sum_rows_block - 1) / sum_rows_block; }

// partial[block][c]: sums of sum_rows_block rows.
template <Sum what>
[[nodiscard]] bool column_sums(const Features& f, const float* from, float* partial) {
  const int64_t grain = 1 + (int64_t{64} << 10) / (sum_rows_block * f.width);
  return parallel_for(0, sum_blocks(f), grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i * sum_rows_block, end = smaller(f.rows, begin + sum_rows_block);
      with_elements(f, [&](auto* data) { column_sums_of<what>(data, f, from, begin, end, partial + i * f.width); });
    }
  });
}

// The mean (2, width) over `count` rows, as the mean deviation from the first row that counts: sums of what is large
// beside its deviations would lose their digits. `workspace`: (sum_blocks + 1) * width.
[[nodiscard]] inline bool column_means(const Features& f, double count, float* workspace, float* mean) {
  float *origin = workspace, *partial = workspace + f.width, *rest = mean + f.width;
  int64_t first = 0;
  while (first < f.rows && f.row_scale(first) == 0.f) ++first;
  fill_zero(origin, f.width);
  if (first < f.rows) {
    with_elements(f, [&](auto* data) {
      each_vector(f.width,
                  [&](int64_t c, auto access) { access.put(origin + c, access.get(data + first * f.width + c)); });
    });
  }
  const bool done = column_sums<Sum::deviations>(f, origin, partial);
  sum_partials(partial, sum_blocks(f), f.width, 1. / (count > 1. ? count : 1.), rest);
  for (int64_t c = 0; c < f.width; ++c) {
    const double exact = static_cast<double>(origin[c]) + static_cast<double>(rest[c]);
    mean[c] = static_cast<float>(exact);
    rest[c] = static_cast<float>(exact - static_cast<double>(mean[c]));
  }
  return done;
}

// to[c] = factor * sum ((value - mean) * scale)^2; `partial`: sum_blocks * width.
[[nodiscard]] inline bool column_squares(const Features& f, double factor, float* partial, float* to) {
  const bool done = column_sums<Sum::squares>(f, f.mean, partial);
  sum_partials(partial, sum_blocks(f), f.width, factor, to);
  return done;
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
