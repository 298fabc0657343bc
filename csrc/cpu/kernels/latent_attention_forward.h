// Latent attention pooling, forward: what is prepared once a call, the pass over one split of the tokens of a sample in
// either algorithm, and the merging of splits. Equations and arguments: spinecore/latent_attention_pool.h.
#pragma once

#include "latent_blocks.h"
#include "spinecore/latent_attention_pool.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// Absorbed: the keys of every head and latent, packed as a right factor. Projected: both projections packed.
template <class Products>
bool prepare_forward(const LatentAttentionForward& a) {
  const auto& g = a.geometry;
  const auto& p = a.parameters;
  float* w = a.workspace;
  bool done = project_table(g, p.latents, p.wq, p.scale, w + a.space.queries, w + a.space.queries_t);
  done &= over_rows(g.padded, g.heads * padded_rows(g), g.head, [&](int64_t begin, int64_t end) {
    if (g.absorbed) {
      absorb(g, p.wk, w + a.space.queries_t, padded_rows(g), begin, end, w + a.space.keys_t);
      Products::pack_keys(g, w + a.space.keys_t, begin, end, w + a.space.packed);
    } else {
      pack_rows(p.wk, g.inner, begin, end, g.padded, g.inner, w + a.space.packed);
      pack_rows(p.wv, g.inner, begin, end, g.padded, g.inner, w + a.space.packed_values);
    }
  });
  return done;
}

// Memory of one pass over tokens.
struct ForwardScratch {
  float *tokens, *scores, *projected, *factor;
  int64_t scores_row, projected_row;

  ForwardScratch(const Geometry& g, float* memory)
      : tokens(memory), scores_row(g.columns + latent_row_gap), projected_row(g.inner + latent_row_gap) {
    scores = tokens + g.block * token_row(g);
    factor = scores + g.block * scores_row;
    projected = factor + g.columns;
  }
};

// The products over tokens in float32. Scores of the tokens in `s.tokens`; keys are left in s.projected where they
// exist.
struct SingleProducts {
  static void pack_keys(const Geometry& g, float* keys_t, int64_t begin, int64_t end, float* to) {
    pack_rows(keys_t, keys_row(g), begin, end, g.padded, g.columns, to);
  }

  template <class T>
  static void gather(const Geometry& g, const T* x, const Block& block, const ForwardScratch& s) {
    SPINECORE_ISA::gather(x, g.width, block, g.padded, s.tokens, token_row(g));
  }

  static void score(const Geometry& g, const Block& block, const float* packed_keys, const float* queries_t,
                    const ForwardScratch& s) {
    const Left x = as_it_is(s.tokens, token_row(g));
    if (g.absorbed) {
      multiply(block.count, g.columns, g.padded, x, packed(packed_keys), s.scores, s.scores_row);
      return;
    }
    multiply(block.count, g.inner, g.padded, x, packed(packed_keys), s.projected, s.projected_row);
    for (int64_t h = 0; h < g.heads; ++h) {
      multiply(block.count, g.head_columns, g.head, as_it_is(s.projected + h * g.head, s.projected_row),
               in_rows(queries_t + h * g.head * g.head_columns, g.head_columns), s.scores + h * g.head_columns,
               s.scores_row);
    }
  }

  // sums (+)= P^T x (absorbed, one row of D a column) or P^T (x wv) of the column's head.
  template <bool accumulate>
  static void sum(const LatentAttentionForward& a, const Block& block, const ForwardScratch& s, float* sums) {
    const auto& g = a.geometry;
    if (g.absorbed) {
      multiply<accumulate>(g.heads * g.rows, g.padded, block.count, transposed(s.scores, s.scores_row),
                           in_rows(s.tokens, token_row(g)), sums, g.padded);
      return;
    }
    multiply(block.count, g.inner, g.padded, as_it_is(s.tokens, token_row(g)),
             packed(a.workspace + a.space.packed_values), s.projected, s.projected_row);
    for (int64_t h = 0; h < g.heads; ++h) {
      multiply<accumulate>(g.rows, g.head, block.count, transposed(s.scores + h * g.head_columns, s.scores_row),
                           in_rows(s.projected + h * g.head, s.projected_row), sums + h * g.head_columns * g.head,
                           g.head);
    }
  }
};

// One split of one sample: the `unit`th of its group.
template <class T, class Products>
void forward_unit(const LatentAttentionForward& a, int64_t sample, int64_t split, int64_t unit, float* memory) {
  const auto& g = a.geometry;
  const ForwardScratch s(g, memory);
  const int64_t sums_row = g.absorbed ? g.padded : g.head;
  float *top = a.workspace + a.space.top + unit * g.columns, *total = a.workspace + a.space.total + unit * g.columns,
        *sums = a.workspace + a.space.sums + unit * g.columns * sums_row;
  fill(top, minus_infinity, g.columns);
  fill(total, 0.f, g.columns);
  const float* mask = a.parameters.mask == nullptr ? nullptr : a.parameters.mask + sample * g.tokens;
  const float* bias = a.bias == nullptr ? nullptr : a.bias + sample * a.bias_sample;
  const T* x = static_cast<const T*>(a.x) + sample * g.tokens * g.width;
  const int64_t blocks = (g.tokens + g.block - 1) / g.block;
  Tokens tokens(mask, blocks * split / g.splits * g.block, smaller(blocks * (split + 1) / g.splits * g.block, g.tokens),
                g.block);
  float* kept = a.scores == nullptr ? nullptr : a.scores + sample * g.tokens * g.heads * g.rows;
  if (kept != nullptr) clear_masked(mask, tokens.begin(), tokens.end(), g.heads * g.rows, kept);
  Block block;
  for (bool first = true; tokens.take(block); first = false) {
    Products::gather(g, x, block, s);
    Products::score(g, block, a.workspace + a.space.packed, a.workspace + a.space.queries_t, s);
    if (bias != nullptr) add_bias(bias, g.tokens, g.rows, g.heads, g.head_columns, block, s.scores, s.scores_row);
    if (kept != nullptr) scatter(s.scores, s.scores_row, block, g.heads * g.rows, kept);
    online_softmax(s.scores, s.scores_row, block.count, g.columns, top, total, s.factor);
    if (first) {
      Products::template sum<false>(a, block, s, sums);
      continue;
    }
    for (int64_t i = 0; i < g.heads * g.head_columns; ++i) {
      if (s.factor[i] != 1.f && i % g.head_columns < g.rows) scale_row(sums + i * sums_row, s.factor[i], sums_row);
    }
    Products::template sum<true>(a, block, s, sums);
  }
}

// The splits of one sample and head into means: row r to `to` + r * to_row.
inline void merge_splits(const LatentAttentionForward& a, int64_t unit, int64_t head, float* norms, float* to,
                         int64_t to_row) {
  const auto& g = a.geometry;
  const int64_t length = g.absorbed ? g.padded : g.head;
  for (int64_t r = 0; r < g.rows; ++r, to += to_row) {
    const int64_t column = unit * g.columns + head * g.head_columns + r;
    const float *top = a.workspace + a.space.top + column, *total = a.workspace + a.space.total + column;
    float most = minus_infinity, sum = 0.f;
    for (int64_t i = 0; i < g.splits; ++i) most = top[i * g.columns] > most ? top[i * g.columns] : most;
    const float base = most == minus_infinity ? 0.f : most;
    for (int64_t i = 0; i < g.splits; ++i) sum += __builtin_expf(top[i * g.columns] - base) * total[i * g.columns];
    norms[r] = base;
    norms[g.batch * g.heads * g.rows + r] = sum;
    bool written = false;
    for (int64_t i = 0; i < g.splits; ++i) {
      const float* sums = a.workspace + a.space.sums + (column + i * g.columns) * length;
      if (total[i * g.columns] == 0.f) continue;  // no token: sums were never written
      const float factor = __builtin_expf(top[i * g.columns] - base) / sum;
      for (int64_t k = 0; k < length; k += lanes) {
        store(to + k, written ? load(to + k) + load(sums + k) * factor : load(sums + k) * factor);
      }
      written = true;
    }
    if (!written) fill_zero(to, length);
  }
}

template <class T, class Products>
bool forward_group(const LatentAttentionForward& a, int64_t first, int64_t count) {
  const auto& g = a.geometry;
  float* w = a.workspace;
  bool done = parallel_for(0, count * g.splits, 1, [&](int64_t begin, int64_t end) {
    float* memory = w + a.space.scratch + begin * a.space.scratch_each;
    for (int64_t u = begin; u < end; ++u) forward_unit<T, Products>(a, first + u / g.splits, u % g.splits, u, memory);
  });
  // Absorbed: means of the tokens (heads, samples, R, D), kept for the backward or for this group only.
  const int64_t samples = a.means != nullptr ? g.batch : g.group, from = a.means != nullptr ? first : 0;
  float* means = a.means != nullptr ? a.means : w + a.space.means;
  const int64_t grain = 1 + (task_multiplies >> 4) / (1 + g.rows * g.padded * g.splits);
  done &= parallel_for(0, count * g.heads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t sample = i / g.heads, h = i % g.heads;
      float* norms = a.norms + ((first + sample) * g.heads + h) * g.rows;
      if (g.absorbed) {
        merge_splits(a, sample * g.splits, h, norms, means + (h * samples + from + sample) * g.rows * g.padded,
                     g.padded);
      } else {
        merge_splits(a, sample * g.splits, h, norms, a.pooled + (first + sample) * g.rows * g.inner + h * g.head,
                     g.inner);
      }
    }
  });
  if (!g.absorbed) return done;
  const int64_t head_grain = 1 + task_multiplies / (1 + count * g.rows * g.padded * g.head);
  done &= parallel_for(0, g.heads, head_grain, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      multiply(count * g.rows, g.head, g.padded, as_it_is(means + (h * samples + from) * g.rows * g.padded, g.padded),
               in_rows(a.parameters.wv + h * g.head, g.inner), a.pooled + first * g.rows * g.inner + h * g.head,
               g.inner);
    }
  });
  return done;
}

template <class T, class Products = SingleProducts>
bool run_forward(const LatentAttentionForward& a) {
  const auto& g = a.geometry;
  bool done = prepare_forward<Products>(a);
  for (int64_t first = 0; first < g.batch; first += g.group) {
    done &= forward_group<T, Products>(a, first, smaller(g.group, g.batch - first));
  }
  done &= over_panels(g.padded, g.batch * g.rows, g.inner, [&](int64_t j, int64_t width) {
    multiply(g.batch * g.rows, width, g.inner, as_it_is(a.pooled, g.inner), in_rows(a.parameters.wo + j, g.padded),
             a.y + j, g.padded);
  });
  return done;
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
