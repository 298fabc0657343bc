// Rows over their norms, and the gradient through that. In the namespace of the instruction set, like simd.h.
#pragma once

#include "feature_panels.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

constexpr float norm_eps = 1e-6f;

inline int64_t row_grain(const Features& f) { return 1 + (int64_t{32} << 10) / f.width; }

// Norms of the centred rows.
template <class T>
void row_norms_of(const T* data, const Features& f, int64_t begin, int64_t end, float* norms) {
  for (int64_t r = begin; r < end; ++r) {
    const T* row = data + r * f.width;
    Vec total{};
    each_vector(f.width, [&](int64_t c, auto access) {
      const Vec centred = access.get(row + c) - access.get(f.mean + c) - access.get(f.mean_rest() + c);
      total += centred * centred;
    });
    norms[r] = __builtin_sqrtf(sum(total));
  }
}

[[nodiscard]] inline bool row_norms(const Features& f, float* norms) {
  return parallel_for(0, f.rows, row_grain(f), [&](int64_t begin, int64_t end) {
    with_elements(f, [&](auto* data) { row_norms_of(data, f, begin, end, norms); });
  });
}

// gradient[r] = scale * gradient[r] - along * centred[r], through the norms. A zero row has no direction and passes no
// gradient through its norm. partial[block] are the sums of the columns of a block of rows.
template <class T>
void through_norms_of(const T* data, const Features& f, const float* norms, int64_t begin, int64_t end, float* gradient,
                      float* partial) {
  fill_zero(partial, f.width);
  for (int64_t r = begin; r < end; ++r) {
    const T* row = data + r * f.width;
    float* grad = gradient + r * f.width;
    const auto centred = [&](int64_t c, auto access) {
      return access.get(row + c) - access.get(f.mean + c) - access.get(f.mean_rest() + c);
    };
    Vec total{};
    each_vector(f.width, [&](int64_t c, auto access) { total += access.get(grad + c) * centred(c, access); });
    const float scale = 1.f / (norms[r] + norm_eps);
    const float along = sum(total) * scale * scale / (norms[r] == 0.f ? 1.f : norms[r]);
    each_vector(f.width, [&](int64_t c, auto access) {
      const Vec value = access.get(grad + c) * scale - centred(c, access) * along;
      access.put(grad + c, value);
      access.put(partial + c, access.get(partial + c) + value);
    });
  }
}

// From the gradient of the normalised rows to that of f: through the norms, and through the centring of the columns,
// which takes off the mean. `to` may be `gradient` itself. `workspace`: (sum_blocks + 1) * width.
template <class T>
[[nodiscard]] bool normalisation_gradient(const Features& f, const float* norms, float* gradient, T* to,
                                          float* workspace) {
  float *mean = workspace, *partial = workspace + f.width;
  bool done = parallel_for(0, sum_blocks(f), row_grain(f) / sum_rows_block + 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i * sum_rows_block, end = smaller(f.rows, begin + sum_rows_block);
      with_elements(f,
                    [&](auto* data) { through_norms_of(data, f, norms, begin, end, gradient, partial + i * f.width); });
    }
  });
  sum_partials(partial, sum_blocks(f), f.width, 1. / static_cast<double>(f.rows), mean);
  done &= parallel_for(0, f.rows, row_grain(f), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t row = r * f.width;
      each_vector(f.width, [&](int64_t c, auto access) {
        access.put(to + row + c, access.get(gradient + row + c) - access.get(mean + c));
      });
    }
  });
  return done;
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
