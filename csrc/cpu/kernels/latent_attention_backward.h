// Latent attention pooling, backward: P is taken again from the scores and their norms.
//
//   dP = dO x'^T,  dS = P (dP - rowsum(P dP)),  with x' the values
//
// Absorbed, with q' the absorbed keys and o' = dO wv^T:  dx = dS q' + P o',  dq' = dS^T x;  P^T x was kept.
// Projected: dk = dS q and dv = P dO of one block,  dx = dk wk^T + dv wv^T,  dwk = x^T dk,  dwv = x^T dv.
#pragma once

#include <type_traits>

#include "latent_attention_forward.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// ---- before the tokens --------------------------------------------------------------------------------------------
// The gradient of the pooled values, both ways round; what it gives for wo; rowsum(P dP) of every score column; and the
// norms as the exponentials want them: a row without tokens has no weights, and neither has padding.
inline bool prepare_gradients(const LatentAttentionBackward& a) {
  const auto& g = a.geometry;
  float* w = a.workspace;
  float *dy_t = w + a.space.dy_t, *d_pooled_t = w + a.space.d_pooled_t, *d_pooled = w + a.space.d_pooled;
  const int64_t row = a.space.d_pooled_row, step = a.space.d_pooled_sample, rows = g.batch * g.rows;
  fill_zero(dy_t, g.padded * row);
  for (int64_t b = 0; b < g.batch; ++b) {
    transpose(a.dy + b * g.rows * g.padded, g.padded, g.rows, g.padded, dy_t + b * step, row);
  }
  bool done = over_rows(g.inner, row, g.padded, [&](int64_t begin, int64_t end) {
    multiply(end - begin, row, g.padded, as_it_is(a.parameters.wo + begin * g.padded, g.padded), in_rows(dy_t, row),
             d_pooled_t + begin * row, row);
    multiply(end - begin, g.padded, rows, transposed(a.pooled + begin, g.inner), in_rows(a.dy, g.padded),
             a.dwo + begin * g.padded, g.padded);
  });
  for (int64_t b = 0; b < g.batch; ++b) {
    transpose(d_pooled_t + b * step, row, g.inner, g.rows, d_pooled + b * g.rows * g.inner, g.inner);
    float *delta = w + a.space.delta + b * g.columns, *tops = w + a.space.tops + b * g.columns,
          *inverses = w + a.space.inverses + b * g.columns;
    fill(delta, 0.f, g.columns);
    fill(tops, -minus_infinity, g.columns);
    fill(inverses, 0.f, g.columns);
    for (int64_t h = 0; h < g.heads; ++h) {
      for (int64_t r = 0; r < g.rows; ++r) {
        const int64_t at = (b * g.rows + r) * g.inner + h * g.head;
        const float* top = a.norms + (b * g.heads + h) * g.rows + r;
        const float sum = top[g.batch * g.heads * g.rows];
        delta[h * g.head_columns + r] = dot(a.pooled + at, d_pooled + at, g.head);
        tops[h * g.head_columns + r] = *top;
        inverses[h * g.head_columns + r] = sum == 0.f ? 0.f : 1.f / sum;
      }
    }
  }
  return done;
}

inline bool prepare_backward(const LatentAttentionBackward& a) {
  const auto& g = a.geometry;
  const auto& p = a.parameters;
  float* w = a.workspace;
  bool done =
      prepare_gradients(a) & project_table(g, p.latents, p.wq, p.scale, w + a.space.queries, w + a.space.queries_t);
  if (g.absorbed) {
    done &= over_rows(g.padded, g.heads * padded_rows(g), g.head, [&](int64_t begin, int64_t end) {
      absorb(g, p.wk, w + a.space.queries_t, padded_rows(g), begin, end, w + a.space.keys_t);
    });
    // o' of every head, (D, samples and rows), all samples at once: a few rows would leave vectors half empty.
    const int64_t row = a.space.d_pooled_row, used = row - latent_row_gap;
    done &= over_rows(g.padded, g.heads * used, g.head, [&](int64_t begin, int64_t end) {
      for (int64_t h = 0; h < g.heads; ++h) {
        multiply(end - begin, used, g.head, as_it_is(p.wv + begin * g.inner + h * g.head, g.inner),
                 in_rows(w + a.space.d_pooled_t + h * g.head * row, row),
                 w + a.space.values_t + (h * g.padded + begin) * row, row);
      }
    });
    // dwv of a head: the kept means of its tokens, transposed, times its gradients.
    done &= parallel_for(0, g.heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t h = begin; h < end; ++h) {
        multiply(g.padded, g.head, g.batch * g.rows, transposed(a.means + h * g.batch * g.rows * g.padded, g.padded),
                 in_rows(w + a.space.d_pooled + h * g.head, g.inner), a.dwv + h * g.head, g.inner);
      }
    });
    return done;
  }
  pack_rows(p.wk, g.inner, 0, g.padded, g.padded, g.inner, w + a.space.packed);
  pack_rows(p.wv, g.inner, 0, g.padded, g.padded, g.inner, w + a.space.packed_values);
  pack_transposed(p.wk, g.inner, g.padded, g.inner, 0, 2 * g.inner, w + a.space.both_t);
  pack_transposed(p.wv, g.inner, g.padded, g.inner, g.inner, 2 * g.inner, w + a.space.both_t);
  return done;
}

// ---- one split of one sample --------------------------------------------------------------------------------------
struct BackwardUnit {
  int64_t sample;
  const float *delta, *tops, *inverses;  // of the sample
  float* sums;                           // of the slot
  float *tokens, *d_scores, *weights, *rest;
  int64_t row;  // of d_scores and weights
  float *d_tokens, *d_tokens_memory;

  BackwardUnit(const LatentAttentionBackward& a, int64_t slot, float* memory) {
    const auto& g = a.geometry;
    sums = a.workspace + a.space.sums + slot * a.space.sums_each;
    row = 2 * g.columns + latent_row_gap;
    tokens = memory;
    d_scores = tokens + g.block * token_row(g);
    weights = d_scores + g.columns;
    d_tokens = d_tokens_memory = d_scores + g.block * row;
    rest = d_tokens_memory + g.block * g.padded;
  }
  void set_sample(const LatentAttentionBackward& a, int64_t index) {
    sample = index;
    delta = a.workspace + a.space.delta + index * a.geometry.columns;
    tops = a.workspace + a.space.tops + index * a.geometry.columns;
    inverses = a.workspace + a.space.inverses + index * a.geometry.columns;
  }
};

// Scores in `weights` to P.
inline void weights_of_scores(const Geometry& g, const BackwardUnit& u, int64_t count) {
  for (int64_t n = 0; n < count; ++n) {
    float* row = u.weights + n * u.row;
    for (int64_t i = 0; i < g.columns; i += lanes) {
      store(row + i, exp_nonpositive(load(row + i) - load(u.tops + i)) * load(u.inverses + i));
    }
  }
}

// dP in `d_scores` to dS = P (dP - rowsum(P dP)), and its sum over heads to d_bias.
inline void gradients_of_scores(const LatentAttentionBackward& a, const BackwardUnit& u, const Block& block) {
  const auto& g = a.geometry;
  for (int64_t n = 0; n < block.count; ++n) {
    float* row = u.d_scores + n * u.row;
    const float* weights = u.weights + n * u.row;
    for (int64_t i = 0; i < g.columns; i += lanes) {
      // Where a token has all the weight its score has no gradient, and what rounding leaves of it must not be one.
      const Vec weight = load(weights + i), factor = weight == splat(1.f) ? Vec{} : weight;
      store(row + i, factor * (load(row + i) - load(u.delta + i)));
    }
    if (a.d_bias == nullptr) continue;
    for (int64_t r = 0; r < g.rows; ++r) {
      float sum = 0.f;
      for (int64_t h = 0; h < g.heads; ++h) sum += row[h * g.head_columns + r];
      a.d_bias[(u.sample * g.rows + r) * g.tokens + block.token[n]] = sum;
    }
  }
}

// What the absorbed form needs of one sample: o' as right factors, as it is for dP, and below q' for dx.
struct AbsorbedSample {
  float *values_t, *packed_values, *keys_values;

  AbsorbedSample(const Geometry& g, float* memory) : values_t(memory) {
    packed_values = values_t + g.padded * keys_row(g);
    keys_values = packed_values + g.padded * g.columns;
  }
  void prepare(const LatentAttentionBackward& a, int64_t sample) const {
    const auto& g = a.geometry;
    const int64_t used = g.heads * g.rows;
    for (int64_t c = 0; c < g.padded; ++c) {
      float* to = values_t + c * keys_row(g);
      // What is too much of one head is overwritten by the next.
      for (int64_t h = 0; h < g.heads; ++h) {
        const float* from =
            a.workspace + a.space.values_t + (h * g.padded + c) * a.space.d_pooled_row + sample * g.rows;
        for (int64_t r = 0; r < g.rows; r += lanes) store(to + h * g.rows + r, load(from + r));
      }
      fill(to + used, 0.f, g.columns - used);
    }
    pack_rows(values_t, keys_row(g), 0, g.padded, g.padded, g.columns, packed_values);
    pack_transposed(values_t, keys_row(g), g.padded, g.columns, g.columns, 2 * g.columns, keys_values);
  }
};

template <class T>
void backward_block_absorbed(const LatentAttentionBackward& a, const BackwardUnit& u, const AbsorbedSample& s,
                             const Block& block, bool first) {
  const auto& g = a.geometry;
  const int64_t used = g.heads * g.rows;
  const float* scores = a.scores + u.sample * g.tokens * used;
  gather(scores, used, block, g.columns, u.weights, u.row);
  weights_of_scores(g, u, block.count);
  multiply(block.count, g.columns, g.padded, as_it_is(u.tokens, token_row(g)), packed(s.packed_values), u.d_scores,
           u.row);
  gradients_of_scores(a, u, block);
  multiply(block.count, g.padded, 2 * g.columns, as_it_is(u.d_scores, u.row), packed(s.keys_values), u.d_tokens,
           g.padded);
  const Left d_scores = transposed(u.d_scores, u.row);
  const Right x = in_rows(u.tokens, token_row(g));
  if (first) {
    multiply<false>(used, g.padded, block.count, d_scores, x, u.sums, g.padded);
  } else {
    multiply<true>(used, g.padded, block.count, d_scores, x, u.sums, g.padded);
  }
}

template <class T>
void backward_block_projected(const LatentAttentionBackward& a, const BackwardUnit& u, const Block& block, bool first) {
  const auto& g = a.geometry;
  const float* w = a.workspace;
  const int64_t row = 2 * g.inner + latent_row_gap, hc = g.head_columns;
  float *keys = u.rest, *values = keys + g.inner, *d_keys = keys + g.block * row, *d_values = d_keys + g.inner;
  float *dw = u.sums, *d_queries = dw + 2 * g.padded * g.inner;
  const Left x = as_it_is(u.tokens, token_row(g));
  multiply(block.count, g.inner, g.padded, x, packed(w + a.space.packed), keys, row);
  multiply(block.count, g.inner, g.padded, x, packed(w + a.space.packed_values), values, row);
  for (int64_t h = 0; h < g.heads; ++h) {
    multiply(block.count, hc, g.head, as_it_is(keys + h * g.head, row),
             in_rows(w + a.space.queries_t + h * g.head * hc, hc), u.weights + h * hc, u.row);
    multiply(block.count, hc, g.head, as_it_is(values + h * g.head, row),
             in_rows(w + a.space.d_pooled_t + h * g.head * a.space.d_pooled_row + u.sample * a.space.d_pooled_sample,
                     a.space.d_pooled_row),
             u.d_scores + h * hc, u.row);
  }
  if (a.bias != nullptr) {
    add_bias(a.bias + u.sample * a.bias_sample, g.tokens, g.rows, g.heads, hc, block, u.weights, u.row);
  }
  weights_of_scores(g, u, block.count);
  gradients_of_scores(a, u, block);
  for (int64_t h = 0; h < g.heads; ++h) {
    multiply(block.count, g.head, g.rows, as_it_is(u.d_scores + h * hc, u.row),
             in_rows(w + a.space.queries + h * g.head, g.inner), d_keys + h * g.head, row);
    multiply(block.count, g.head, g.rows, as_it_is(u.weights + h * hc, u.row),
             in_rows(w + a.space.d_pooled + u.sample * g.rows * g.inner + h * g.head, g.inner), d_values + h * g.head,
             row);
    const Left d_scores = transposed(u.d_scores + h * hc, u.row);
    const Right head_keys = in_rows(keys + h * g.head, row);
    if (first) {
      multiply<false>(g.rows, g.head, block.count, d_scores, head_keys, d_queries + h * g.head, g.inner);
    } else {
      multiply<true>(g.rows, g.head, block.count, d_scores, head_keys, d_queries + h * g.head, g.inner);
    }
  }
  multiply(block.count, g.padded, 2 * g.inner, as_it_is(d_keys, row), packed(w + a.space.both_t), u.d_tokens, g.padded);
  const Left x_t = transposed(u.tokens, token_row(g));
  if (first) {
    multiply<false>(g.padded, 2 * g.inner, block.count, x_t, in_rows(d_keys, row), dw, 2 * g.inner);
  } else {
    multiply<true>(g.padded, 2 * g.inner, block.count, x_t, in_rows(d_keys, row), dw, 2 * g.inner);
  }
}

// The units of one slot: a fixed part of all samples and splits, with sums of its own.
template <class T>
void backward_slot(const LatentAttentionBackward& a, int64_t slot, float* memory) {
  const auto& g = a.geometry;
  BackwardUnit u(a, slot, memory);
  const AbsorbedSample absorbed(g, u.rest);
  if (g.absorbed) {
    pack_transposed(a.workspace + a.space.keys_t, keys_row(g), g.padded, g.columns, 0, 2 * g.columns,
                    absorbed.keys_values);
  }
  const int64_t units = g.batch * g.splits, blocks = (g.tokens + g.block - 1) / g.block;
  int64_t prepared = -1;
  bool first = true;
  Block block;
  for (int64_t unit = units * slot / g.slots; unit < units * (slot + 1) / g.slots; ++unit) {
    const int64_t sample = unit / g.splits, split = unit % g.splits;
    u.set_sample(a, sample);
    const float* mask = a.parameters.mask == nullptr ? nullptr : a.parameters.mask + sample * g.tokens;
    Tokens tokens(mask, blocks * split / g.splits * g.block,
                  smaller(blocks * (split + 1) / g.splits * g.block, g.tokens), g.block);
    T* dx = static_cast<T*>(a.dx) + sample * g.tokens * g.width;
    clear_masked(mask, tokens.begin(), tokens.end(), g.width, dx);
    for (int64_t r = 0; a.d_bias != nullptr && mask != nullptr && r < g.rows; ++r) {
      clear_masked(mask, tokens.begin(), tokens.end(), 1, a.d_bias + (sample * g.rows + r) * g.tokens);
    }
    for (; tokens.take(block); first = false) {
      gather(static_cast<const T*>(a.x) + sample * g.tokens * g.width, g.width, block, g.padded, u.tokens,
             token_row(g));
      const bool in_place = std::is_same_v<T, float> && g.width == g.padded && is_run(block);
      u.d_tokens = in_place ? reinterpret_cast<float*>(dx + block.token[0] * g.width) : u.d_tokens_memory;
      if (g.absorbed) {
        if (prepared != sample) absorbed.prepare(a, sample);
        prepared = sample;
        backward_block_absorbed<T>(a, u, absorbed, block, first);
      } else {
        backward_block_projected<T>(a, u, block, first);
      }
      if (!in_place) scatter(u.d_tokens, g.padded, block, g.width, dx);
    }
  }
  if (first) fill_zero(u.sums, a.space.sums_each);
}

// ---- after the tokens ---------------------------------------------------------------------------------------------
inline bool finish_backward(const LatentAttentionBackward& a) {
  const auto& g = a.geometry;
  const auto& p = a.parameters;
  float *w = a.workspace, *sums = w + a.space.sums, *queries = w + a.space.queries;
  for (int64_t i = 1; i < g.slots; ++i) add_scaled(sums, 1.f, sums + i * a.space.sums_each, a.space.sums_each);
  float *d_queries = w + a.space.d_queries, *d_queries_t = w + a.space.d_queries_t;
  bool done = true;
  if (g.absorbed) {
    done &= parallel_for(0, g.heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t h = begin; h < end; ++h) {
        const float* d_keys = sums + h * g.rows * g.padded;
        multiply(g.padded, g.head, g.rows, transposed(d_keys, g.padded), in_rows(queries + h * g.head, g.inner),
                 a.dwk + h * g.head, g.inner);
        multiply(g.rows, g.head, g.padded, as_it_is(d_keys, g.padded), in_rows(p.wk + h * g.head, g.inner),
                 d_queries + h * g.head, g.inner);
      }
    });
    scale_row(d_queries, p.scale, g.rows * g.inner);
  } else {
    for (int64_t i = 0; i < g.padded; ++i) {
      for (int64_t j = 0; j < g.inner; j += lanes) {
        store(a.dwk + i * g.inner + j, load(sums + 2 * i * g.inner + j));
        store(a.dwv + i * g.inner + j, load(sums + (2 * i + 1) * g.inner + j));
      }
    }
    const float* summed = sums + 2 * g.padded * g.inner;
    for (int64_t i = 0; i < g.rows * g.inner; i += lanes) store(d_queries + i, load(summed + i) * p.scale);
  }
  fill_zero(d_queries_t, g.inner * padded_rows(g));
  transpose(d_queries, g.inner, g.rows, g.inner, d_queries_t, padded_rows(g));
  float* d_latents_t = w + a.space.d_latents_t;
  done &= over_rows(g.padded, g.inner, g.rows + padded_rows(g), [&](int64_t begin, int64_t end) {
    multiply(end - begin, g.inner, g.rows, transposed(p.latents + begin, g.padded), in_rows(d_queries, g.inner),
             a.dwq + begin * g.inner, g.inner);
    multiply(end - begin, padded_rows(g), g.inner, as_it_is(p.wq + begin * g.inner, g.inner),
             in_rows(d_queries_t, padded_rows(g)), d_latents_t + begin * padded_rows(g), padded_rows(g));
  });
  transpose(d_latents_t, padded_rows(g), g.padded, g.rows, a.d_latents, g.padded);
  return done;
}

template <class T>
bool run_backward(const LatentAttentionBackward& a) {
  bool done = prepare_backward(a);
  done &= parallel_for(0, a.geometry.slots, 1, [&](int64_t begin, int64_t end) {
    float* memory = a.workspace + a.space.scratch + begin * a.space.scratch_each;
    for (int64_t slot = begin; slot < end; ++slot) backward_slot<T>(a, slot, memory);
  });
  return finish_backward(a) && done;
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
