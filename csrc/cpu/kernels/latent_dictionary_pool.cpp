// Latent dictionary pooling: the kernels, compiled once per instruction set. Equations and arguments:
// spinecore/latent_dictionary_pool.h.
//
// Scores of a block lie token by token, every head in whole vectors, so that a softmax runs along a row. The backward
// takes everything again but the tokens: nothing of the size of the scores is ever kept.
#include "spinecore/latent_dictionary_pool.h"

#include "latent_blocks.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

using Forward = LatentDictionaryForward;
using Backward = LatentDictionaryBackward;

// Heads whose scores are in memory at once: all where they come from one product.
SPINECORE_INLINE int64_t heads_at_once(const Geometry& g) { return g.absorbed ? g.heads : 1; }

struct Scratch {
  float *tokens, *scores, *queries, *d_queries, *d_tokens;
  int64_t scores_row, queries_row;

  Scratch(const Geometry& g, float* memory)
      : tokens(memory),
        scores_row(heads_at_once(g) * g.head_columns + latent_row_gap),
        queries_row(g.inner + latent_row_gap) {
    scores = tokens + g.block * token_row(g);
    queries = scores + g.block * scores_row;
    d_queries = queries + (g.absorbed ? 0 : g.block * queries_row);
    d_tokens = d_queries + (g.absorbed ? 0 : g.block * queries_row);
  }
};

SPINECORE_INLINE float largest(Vec value) {
  float parts[lanes];
  store(parts, value);
  float most = parts[0];
  for (int i = 1; i < lanes; ++i) most = parts[i] > most ? parts[i] : most;
  return most;
}

// Softmax along the `rows` first of `columns` scores; the others become zero.
inline void softmax_row(float* scores, int64_t rows, int64_t columns) {
  if (rows < columns) {
    for (int64_t i = rows; i < columns; ++i) scores[i] = minus_infinity;
  }
  Vec most = load(scores);
  for (int64_t i = lanes; i < columns; i += lanes) most = larger(load(scores + i), most);
  const Vec base = splat(largest(most));
  Vec total{};
  for (int64_t i = 0; i < columns; i += lanes) {
    const Vec value = exp_nonpositive(load(scores + i) - base);
    store(scores + i, value);
    total += value;
  }
  scale_row(scores, 1.f / sum(total), columns);
}

// ---- before the tokens --------------------------------------------------------------------------------------------
inline bool prepare(const Forward& a, bool backward) {
  const auto& g = a.geometry;
  const auto& s = a.space;
  float* w = a.workspace;
  bool done = project_table(g, a.table, a.wk, a.scale, w + s.keys, w + s.keys_t);
  done &= project_table(g, a.table, a.wv, 1.f, w + s.values, w + s.values_t);
  const int64_t depth = g.absorbed ? g.columns : g.inner;
  done &= over_rows(g.padded, depth, g.head, [&](int64_t begin, int64_t end) {
    if (g.absorbed) {
      absorb(g, a.wq, w + s.keys_t, padded_rows(g), begin, end, w + s.absorbed);
      pack_rows(w + s.absorbed, keys_row(g), begin, end, g.padded, g.columns, w + s.packed);
    } else {
      pack_rows(a.wq, g.inner, begin, end, g.padded, g.inner, w + s.packed);
    }
  });
  if (backward) {
    const float* from = g.absorbed ? w + s.absorbed : a.wq;
    pack_transposed(from, g.absorbed ? keys_row(g) : g.inner, g.padded, depth, 0, depth, w + s.packed_t);
  }
  for (int64_t b = 0; b < g.batch; ++b) {
    int64_t count = a.mask == nullptr ? g.tokens : 0;
    for (int64_t n = 0; a.mask != nullptr && n < g.tokens; ++n) count += a.mask[b * g.tokens + n] != 0.f;
    w[s.counts + b] = static_cast<float>(count > 0 ? count : 1);
  }
  return done;
}

// ---- the tokens ---------------------------------------------------------------------------------------------------
// Scores of `heads_at_once` heads from `head` on, then P.
inline void weights_of_block(const Forward& a, const Scratch& s, int64_t count, int64_t head) {
  const auto& g = a.geometry;
  if (g.absorbed) {
    multiply(count, g.columns, g.padded, as_it_is(s.tokens, token_row(g)), packed(a.workspace + a.space.packed),
             s.scores, s.scores_row);
  } else {
    multiply(count, g.head_columns, g.head, as_it_is(s.queries + head * g.head, s.queries_row),
             in_rows(a.workspace + a.space.keys_t + head * g.head * g.head_columns, g.head_columns), s.scores,
             s.scores_row);
  }
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t h = 0; h < heads_at_once(g); ++h) {
      softmax_row(s.scores + n * s.scores_row + h * g.head_columns, g.rows, g.head_columns);
    }
  }
}

inline void project_block(const Forward& a, const Scratch& s, int64_t count) {
  const auto& g = a.geometry;
  if (g.absorbed) return;
  multiply(count, g.inner, g.padded, as_it_is(s.tokens, token_row(g)), packed(a.workspace + a.space.packed), s.queries,
           s.queries_row);
}

// to[i] += the sum of column i over the rows of a block.
inline void add_columns(const float* from, int64_t row, int64_t count, int64_t columns, float* to) {
  for (int64_t i = 0; i < columns; i += lanes) {
    Vec total{};
    for (int64_t n = 0; n < count; ++n) total += load(from + n * row + i);
    store(to + i, load(to + i) + total);
  }
}

// Calls body(block, sample, sums of weights) for the blocks of the samples and splits of one slot, tokens gathered;
// masked tokens get a zero gradient.
template <class T, class Body>
void each_block(const Forward& a, T* dx, int64_t slot, const Scratch& s, const Body& body) {
  const auto& g = a.geometry;
  const int64_t units = g.batch * g.splits, blocks = (g.tokens + g.block - 1) / g.block;
  Block block;
  for (int64_t unit = units * slot / g.slots; unit < units * (slot + 1) / g.slots; ++unit) {
    const int64_t sample = unit / g.splits, split = unit % g.splits;
    const float* mask = a.mask == nullptr ? nullptr : a.mask + sample * g.tokens;
    Tokens tokens(mask, blocks * split / g.splits * g.block,
                  smaller(blocks * (split + 1) / g.splits * g.block, g.tokens), g.block);
    fill_zero(a.workspace + a.space.weights + unit * g.columns, g.columns);
    if (dx != nullptr) clear_masked(mask, tokens.begin(), tokens.end(), g.width, dx + sample * g.tokens * g.width);
    while (tokens.take(block)) {
      gather(static_cast<const T*>(a.x) + sample * g.tokens * g.width, g.width, block, g.padded, s.tokens,
             token_row(g));
      project_block(a, s, block.count);
      body(block, sample, a.workspace + a.space.weights + unit * g.columns);
    }
  }
}

template <class Body>
bool over_slots(const Forward& a, const Body& body) {
  return parallel_for(0, a.geometry.slots, 1, [&](int64_t begin, int64_t end) {
    const Scratch scratch(a.geometry, a.workspace + a.space.scratch + begin * a.space.scratch_each);
    for (int64_t slot = begin; slot < end; ++slot) body(slot, scratch);
  });
}

// Mean weights of every sample, and the pooled values: their product with the values of the dictionary.
inline bool pool(const Forward& a) {
  const auto& g = a.geometry;
  float* w = a.workspace;
  for (int64_t b = 0; b < g.batch; ++b) {
    float* means = w + a.space.means + b * g.columns;
    fill_zero(means, g.columns);
    for (int64_t i = 0; i < g.splits; ++i) {
      add_scaled(means, 1.f, w + a.space.weights + (b * g.splits + i) * g.columns, g.columns);
    }
    scale_row(means, 1.f / w[a.space.counts + b], g.columns);
  }
  const int64_t grain = 1 + task_multiplies / (1 + g.batch * g.rows * g.head);
  return parallel_for(0, g.heads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      multiply(g.batch, g.head, g.rows, as_it_is(w + a.space.means + h * g.head_columns, g.columns),
               in_rows(w + a.space.values + h * g.head, g.inner), w + a.space.pooled + h * g.head, g.inner);
    }
  });
}

template <class T>
bool run_forward(const Forward& a) {
  const auto& g = a.geometry;
  bool done = prepare(a, false);
  done &= over_slots(a, [&](int64_t slot, const Scratch& s) {
    each_block<T>(a, nullptr, slot, s, [&](const Block& block, int64_t, float* weights) {
      for (int64_t h = 0; h < g.heads; h += heads_at_once(g)) {
        weights_of_block(a, s, block.count, h);
        add_columns(s.scores, s.scores_row, block.count, heads_at_once(g) * g.head_columns,
                    weights + h * g.head_columns);
      }
    });
  });
  done &= pool(a);
  done &= over_panels(g.padded, g.batch, g.inner, [&](int64_t j, int64_t width) {
    multiply(g.batch, width, g.inner, as_it_is(a.workspace + a.space.pooled, g.inner), in_rows(a.wo + j, g.padded),
             a.y + j, g.padded);
  });
  return done;
}

// ---- backward -----------------------------------------------------------------------------------------------------
// Gradients of the pooled values, and of the weights of every token of a sample: the same for all of them.
inline bool prepare_gradients(const Backward& b) {
  const auto& a = b.forward;
  const auto& g = a.geometry;
  float* w = a.workspace;
  const int64_t row = round_up(g.batch, latent_padding);
  float *dy_t = w + a.space.dy_t, *d_pooled_t = w + a.space.d_pooled_t, *d_pooled = w + a.space.d_pooled;
  fill_zero(dy_t, g.padded * row);
  transpose(b.dy, g.padded, g.batch, g.padded, dy_t, row);
  bool done = over_rows(g.inner, row, g.padded, [&](int64_t begin, int64_t end) {
    multiply(end - begin, row, g.padded, as_it_is(a.wo + begin * g.padded, g.padded), in_rows(dy_t, row),
             d_pooled_t + begin * row, row);
  });
  transpose(d_pooled_t, row, g.inner, g.batch, d_pooled, g.inner);
  done &= parallel_for(0, g.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      multiply(g.batch, g.head_columns, g.head, as_it_is(d_pooled + h * g.head, g.inner),
               in_rows(w + a.space.values_t + h * g.head * g.head_columns, g.head_columns),
               w + a.space.d_weights + h * g.head_columns, g.columns);
    }
  });
  for (int64_t i = 0; i < g.batch; ++i) {
    scale_row(w + a.space.d_weights + i * g.columns, 1.f / w[a.space.counts + i], g.columns);
  }
  return done;
}

// P of a block to dS = P (dP - rowsum(P dP)), for the heads in memory.
inline void gradients_of_scores(const Geometry& g, const Scratch& s, int64_t count, const float* d_weights) {
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t h = 0; h < heads_at_once(g); ++h) {
      float* row = s.scores + n * s.scores_row + h * g.head_columns;
      const float* gradient = d_weights + h * g.head_columns;
      const Vec base = splat(dot(row, gradient, g.head_columns));
      for (int64_t i = 0; i < g.head_columns; i += lanes) {
        // A row that has all the weight has no gradient, whatever rounding leaves of it.
        const Vec weight = load(row + i), factor = weight == splat(1.f) ? Vec{} : weight;
        store(row + i, factor * (load(gradient + i) - base));
      }
    }
  }
}

template <bool accumulate>
void multiply_scores(const Backward& b, const Scratch& s, int64_t count, int64_t head, float* sums) {
  const auto& a = b.forward;
  const auto& g = a.geometry;
  const Left d_scores = transposed(s.scores, s.scores_row);
  if (g.absorbed) {
    multiply<accumulate>(g.columns, g.padded, count, d_scores, in_rows(s.tokens, token_row(g)), sums, g.padded);
    return;
  }
  multiply(count, g.head, g.rows, as_it_is(s.scores, s.scores_row),
           in_rows(a.workspace + a.space.keys + head * g.head, g.inner), s.d_queries + head * g.head, s.queries_row);
  multiply<accumulate>(g.rows, g.head, count, d_scores, in_rows(s.queries + head * g.head, s.queries_row),
                       sums + g.padded * g.inner + head * g.head, g.inner);
}

template <class T>
void backward_slot(const Backward& b, int64_t slot, const Scratch& s) {
  const auto& a = b.forward;
  const auto& g = a.geometry;
  float* sums = a.workspace + a.space.sums + slot * a.space.sums_each;
  fill_zero(sums, a.space.sums_each);
  each_block<T>(a, static_cast<T*>(b.dx), slot, s, [&](const Block& block, int64_t sample, float* weights) {
    for (int64_t h = 0; h < g.heads; h += heads_at_once(g)) {
      weights_of_block(a, s, block.count, h);
      add_columns(s.scores, s.scores_row, block.count, heads_at_once(g) * g.head_columns, weights + h * g.head_columns);
      gradients_of_scores(g, s, block.count, a.workspace + a.space.d_weights + sample * g.columns + h * g.head_columns);
      multiply_scores<true>(b, s, block.count, h, sums);
    }
    if (!g.absorbed) {
      multiply<true>(g.padded, g.inner, block.count, transposed(s.tokens, token_row(g)),
                     in_rows(s.d_queries, s.queries_row), sums, g.inner);
    }
    const Left left = g.absorbed ? as_it_is(s.scores, s.scores_row) : as_it_is(s.d_queries, s.queries_row);
    multiply(block.count, g.padded, g.absorbed ? g.columns : g.inner, left, packed(a.workspace + a.space.packed_t),
             s.d_tokens, g.padded);
    scatter(s.d_tokens, g.padded, block, g.width, static_cast<T*>(b.dx) + sample * g.tokens * g.width);
  });
}

// From the sums over all tokens to the gradients of the parameters.
inline bool finish(const Backward& b) {
  const auto& a = b.forward;
  const auto& g = a.geometry;
  float *w = a.workspace, *sums = w + a.space.sums, *d_keys = w + a.space.d_keys, *d_values = w + a.space.d_values;
  for (int64_t i = 1; i < g.slots; ++i) add_scaled(sums, 1.f, sums + i * a.space.sums_each, a.space.sums_each);
  bool done = pool(a);
  done &= parallel_for(0, g.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      multiply(g.rows, g.head, g.batch, transposed(w + a.space.means + h * g.head_columns, g.columns),
               in_rows(w + a.space.d_pooled + h * g.head, g.inner), d_values + h * g.head, g.inner);
      if (!g.absorbed) continue;
      const float* d_absorbed = sums + h * g.head_columns * g.padded;
      multiply(g.padded, g.head, g.rows, transposed(d_absorbed, g.padded),
               in_rows(w + a.space.keys + h * g.head, g.inner), b.dwq + h * g.head, g.inner);
      multiply(g.rows, g.head, g.padded, as_it_is(d_absorbed, g.padded), in_rows(a.wq + h * g.head, g.inner),
               d_keys + h * g.head, g.inner);
    }
  });
  if (!g.absorbed) {
    for (int64_t i = 0; i < g.padded * g.inner; i += lanes) store(b.dwq + i, load(sums + i));
    const float* summed = sums + g.padded * g.inner;
    for (int64_t i = 0; i < g.rows * g.inner; i += lanes) store(d_keys + i, load(summed + i));
  }
  scale_row(d_keys, a.scale, g.rows * g.inner);
  const int64_t row = padded_rows(g);
  float *d_keys_t = w + a.space.d_keys_t, *d_values_t = w + a.space.d_values_t, *d_table_t = w + a.space.d_table_t;
  for (float* to : {d_keys_t, d_values_t}) {
    fill_zero(to, g.inner * row);
    transpose(to == d_keys_t ? d_keys : d_values, g.inner, g.rows, g.inner, to, row);
  }
  done &= over_rows(g.padded, g.inner, 4 * g.rows, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const Left table = transposed(a.table + begin, g.padded);
    multiply(count, g.inner, g.rows, table, in_rows(d_keys, g.inner), b.dwk + begin * g.inner, g.inner);
    multiply(count, g.inner, g.rows, table, in_rows(d_values, g.inner), b.dwv + begin * g.inner, g.inner);
    float* to = d_table_t + begin * row;
    multiply(count, row, g.inner, as_it_is(a.wk + begin * g.inner, g.inner), in_rows(d_keys_t, row), to, row);
    multiply<true>(count, row, g.inner, as_it_is(a.wv + begin * g.inner, g.inner), in_rows(d_values_t, row), to, row);
  });
  transpose(d_table_t, row, g.padded, g.rows, b.d_table, g.padded);
  done &= over_rows(g.inner, g.padded, g.batch, [&](int64_t begin, int64_t end) {
    multiply(end - begin, g.padded, g.batch, transposed(w + a.space.pooled + begin, g.inner), in_rows(b.dy, g.padded),
             b.dwo + begin * g.padded, g.padded);
  });
  return done;
}

template <class T>
bool run_backward(const Backward& b) {
  bool done = prepare(b.forward, true);
  done &= prepare_gradients(b);
  done &= over_slots(b.forward, [&](int64_t slot, const Scratch& s) { backward_slot<T>(b, slot, s); });
  return finish(b) && done;
}

bool forward(const Forward& a) { return a.dtype == DType::bfloat16 ? run_forward<BFloat16>(a) : run_forward<float>(a); }

bool backward(const Backward& b) {
  return b.forward.dtype == DType::bfloat16 ? run_backward<BFloat16>(b) : run_backward<float>(b);
}

}  // namespace

extern const LatentDictionaryKernels latent_dictionary_pool_kernels;
const LatentDictionaryKernels latent_dictionary_pool_kernels{forward, backward};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
