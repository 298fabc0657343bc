// Products between tokens and absorbed queries, with the softmax in their factors and epilogues.
#pragma once

#include "half_tokens.cuh"
#include "product.cuh"
#include "spinecore/cuda/latent_pool.h"

namespace spinecore::cuda {

// P of one sample as a factor: rows are tokens, columns queries. exp(scores - top) / total; a query without a token has
// a total of zero and weighs nothing. Without totals they are left to the product's epilogue: what halves lose of the
// exponentials is then small beside the largest.
struct Weights {
  const float *scores, *top, *total;
  int rows, columns;
  bool vectors;
};
template <>
inline constexpr bool is_made<Weights> = true;

template <class T>
__device__ __forceinline__ void load_four(const Weights& w, int row, int column, float (&values)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) values[e] = 0.0f;
  if (row >= w.rows || column >= w.columns) return;
  const float* from = w.scores + static_cast<int64_t>(row) * w.columns + column;
  float top[4] = {}, total[4] = {};
  if (w.vectors) {
    read_four(from, values);
    read_four(w.top + column, top);
    if (w.total != nullptr) read_four(w.total + column, total);
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (column + e >= w.columns) break;
      values[e] = from[e];
      top[e] = w.top[column + e];
      if (w.total != nullptr) total[e] = w.total[column + e];
    }
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    values[e] = expf(values[e] - top[e]);
    if (w.total != nullptr) values[e] = total[e] == 0.0f ? 0.0f : values[e] / total[e];
  }
}
template <class T>
__device__ __forceinline__ void gather_eight(const Weights& w, int row, int column, T (&out)[8]) {
#pragma unroll
  for (int e = 0; e < 8; e += 4) {
    float values[4];
    load_four<float>(w, row, column + e, values);
#pragma unroll
    for (int i = 0; i < 4; ++i) from_float(values[i], out[e + i]);
  }
}

// Of halves, queries on top of the gradient of the means: what the gradients of the scores and P, which lie side by
// side, are multiplied with.
struct Stacked {
  const void *queries, *d_means;
  int count;          // of either
  int rows, columns;  // as of every factor
  bool vectors;
};
template <class T>
__device__ __forceinline__ const T* row_of(const Stacked& s, int row) {
  return static_cast<const T*>(row < s.count ? s.queries : s.d_means) +
         static_cast<int64_t>(row < s.count ? row : row - s.count) * s.columns;
}
template <class T>
__device__ __forceinline__ void load_four(const Stacked& s, int row, int column, float (&values)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) values[e] = 0.0f;
  if (row >= s.rows || column >= s.columns) return;
  const T* from = row_of<T>(s, row) + column;
  if (s.vectors) {
    read_four(from, values);
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (column + e < s.columns) values[e] = to_float(from[e]);
    }
  }
}
template <class T>
__device__ __forceinline__ const T* eight_at(const Stacked& s, int row, int column) {
  return row < s.rows && column < s.columns ? row_of<T>(s, row) + column : nullptr;
}
template <class T>
__device__ __forceinline__ void gather_eight(const Stacked& s, int row, int column, T (&out)[8]) {
  const T* from = row < s.rows ? row_of<T>(s, row) : nullptr;
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    if (from != nullptr && column + e < s.columns) {
      out[e] = from[column + e];
    } else {
      from_float(0.0f, out[e]);
    }
  }
}

// Largest score and sum of exponentials below it, of some tokens.
struct Norm {
  float top, total;
};
__device__ __forceinline__ Norm merged(Norm a, Norm b) {
  const float top = fmaxf(a.top, b.top);
  if (top == -INFINITY) return {top, a.total + b.total};  // nothing, or NaN
  return {top, a.total * expf(a.top - top) + b.total * expf(b.top - top)};
}

// Where the norm of one of a tile's queries lies, so that 16 threads that write every fourth or read neighbours meet
// all banks.
__device__ __forceinline__ int place_of_norm(int query) { return query % 4 * 16 + (query / 4 + query % 4 * 4) % 16; }

// Scores of one tile of tokens and queries of one sample, and the norm of every query over these tokens.
__device__ inline void write_scores(const LatentPoolPlan& plan, const LatentPoolForwardPointers& p, int sample, int row,
                                    int column, float (&sums)[8][4]) {
  constexpr int groups = product_threads / 16;
  __shared__ Norm norms[groups][product_tile];
  const int group = static_cast<int>(threadIdx.x) / 16, tile = row / product_tile, first = column;
  const bool vectors = plan.queries % 4 == 0;
  row += own_row();
  column += own_column();
  Norm own[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) own[j] = {-INFINITY, 0.0f};
  float* scores = p.scores + int64_t{sample} * plan.tokens * plan.queries;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int token = row + i;
    const bool inside = token < plan.tokens;
    const bool kept = inside && (p.mask == nullptr || p.mask[int64_t{sample} * plan.tokens + token] != 0.0f);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (p.bias != nullptr && kept && column + j < plan.queries) {
        sums[i][j] += p.bias[sample * plan.bias_sample + int64_t{(column + j) % plan.rows} * plan.tokens + token];
      }
      if (!kept) sums[i][j] = -INFINITY;
      own[j].top = fmaxf(own[j].top, sums[i][j]);
    }
    if (inside && column < plan.queries) write_row(scores, plan.queries, vectors, token, column, sums[i]);
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (sums[i][j] != -INFINITY) own[j].total += expf(sums[i][j] - own[j].top);  // a NaN stays one
    }
    norms[group][place_of_norm(own_column() + j)] = own[j];
  }
  __syncthreads();
  const int query = static_cast<int>(threadIdx.x);
  if (query >= product_tile || first + query >= plan.queries) return;
  Norm all = norms[0][place_of_norm(query)];
#pragma unroll 1
  for (int g = 1; g < groups; ++g) all = merged(all, norms[g][place_of_norm(query)]);
  const int tiles = (plan.tokens + product_tile - 1) / product_tile;
  reinterpret_cast<float2*>(p.workspace)[(int64_t{sample} * tiles + tile) * plan.queries + first + query] = {all.top,
                                                                                                             all.total};
}

// Blocks of a multiprocessor that the registers must allow.
template <class T>
inline constexpr int pool_blocks = sizeof(T) == 4 ? 4 : half_blocks;

template <class T, bool tensor>
__global__ void __launch_bounds__(product_threads, pool_blocks<T>)
    score_tokens(Factor tokens, Factor queries, LatentPoolPlan plan, LatentPoolForwardPointers p, bool eights) {
  const int sample = static_cast<int>(blockIdx.x) / plan.scores.tiles;
  const int2 place = place_of(plan.scores, static_cast<int>(blockIdx.x) % plan.scores.tiles);
  const int row = place.x * product_tile, column = place.y * product_tile;
  float sums[8][4] = {};
  multiply_alike<T, false, false, tensor>(Tokens{of_sample<T>(tokens, sample)}, queries, row, column, 0, plan.width,
                                          eights, sums);
  write_scores(plan, p, sample, row, column, sums);
}

// Of every query over the tiles of tokens, in their order.
inline constexpr int norm_merge_threads = 128;
__global__ void __launch_bounds__(norm_merge_threads)
    merge_norms(LatentPoolPlan plan, const float* of_tiles, float* norms) {
  const int64_t at = int64_t{blockIdx.x} * norm_merge_threads + threadIdx.x, count = int64_t{plan.batch} * plan.queries;
  if (at >= count) return;
  const int tiles = (plan.tokens + product_tile - 1) / product_tile;
  const int64_t sample = at / plan.queries, query = at % plan.queries;
  const auto* from = reinterpret_cast<const float2*>(of_tiles) + sample * tiles * plan.queries + query;
  Norm all{-INFINITY, 0.0f};
#pragma unroll 4
  for (int tile = 0; tile < tiles; ++tile) {
    const float2 more = from[int64_t{tile} * plan.queries];
    all = merged(all, {more.x, more.y});
  }
  norms[at] = all.top == -INFINITY ? 0.0f : all.top;
  norms[count + at] = all.total;
}

// P of one sample.
__device__ __forceinline__ Weights weights_of(const LatentPoolPlan& plan, const float* scores, const float* norms,
                                              int sample) {
  const int64_t at = int64_t{sample} * plan.queries;
  return {
      scores + at * plan.tokens, norms + at, norms + int64_t{plan.batch} * plan.queries + at, plan.tokens, plan.queries,
      plan.queries % 4 == 0};
}

// means = P^T x, split over the tokens.
template <class T, bool tensor>
__global__ void __launch_bounds__(product_threads, 3)
    average_tokens(Factor tokens, LatentPoolPlan plan, LatentPoolForwardPointers p, bool eights) {
  const ProductPlan& product = plan.means;
  const int blocks = product.tiles * product.splits, sample = static_cast<int>(blockIdx.x) / blocks;
  const int tile = static_cast<int>(blockIdx.x) % blocks / product.splits;
  const int split = static_cast<int>(blockIdx.x) % product.splits, depth = split * product.split_depth;
  const int2 place = place_of(product, tile);
  const int row = place.x * product_tile, column = place.y * product_tile;
  float sums[8][4] = {};
  Weights weights = weights_of(plan, p.scores, p.norms, sample);
  const float* total = weights.total;
  weights.total = nullptr;
  multiply_alike<T, true, true, tensor>(weights, Tokens{of_sample<T>(tokens, sample)}, row, column, depth,
                                        min(depth + product.split_depth, plan.tokens), eights, sums);
  if (!add_splits(product, p.workspace + plan.sums_at, plan.batch, sample, tile, split, sums)) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int query = row + own_row() + i;
    const float own = query < plan.queries ? total[query] : 0.0f;
#pragma unroll
    for (int j = 0; j < 4; ++j) sums[i][j] = own == 0.0f ? 0.0f : sums[i][j] / own;
  }
  write_tile(p.means + int64_t{sample} * plan.queries * plan.width, plan.queries, plan.width, plan.width % 4 == 0, row,
             column, sums);
}

// d_scores = P (dP - delta) with dP = x d_means^T; of halves, beside it P.
template <class T, bool tensor>
__global__ void __launch_bounds__(product_threads, pool_blocks<T>)
    differentiate_scores(Factor tokens, Factor d_means, LatentPoolPlan plan, LatentPoolBackwardPointers p,
                         bool eights) {
  const int sample = static_cast<int>(blockIdx.x) / plan.scores.tiles;
  const int2 place = place_of(plan.scores, static_cast<int>(blockIdx.x) % plan.scores.tiles);
  const int row = place.x * product_tile, column = place.y * product_tile;
  float sums[8][4] = {};
  multiply_alike<T, false, false, tensor>(Tokens{of_sample<T>(tokens, sample)}, of_sample<T>(d_means, sample), row,
                                          column, 0, plan.width, eights, sums);
  const Weights weights = weights_of(plan, p.scores, p.norms, sample);
  const int query = column + own_column(), pitch = plan.d_scores_columns;
  T* result = static_cast<T*>(p.d_scores) + int64_t{sample} * plan.tokens * pitch;
  float delta[4] = {};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (query + j < plan.queries) delta[j] = p.delta[int64_t{sample} * plan.queries + query + j];
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int token = row + own_row() + i;
    if (token >= plan.tokens || query >= plan.queries) continue;
    float own[4];
    load_four<float>(weights, token, query, own);
    T* to = result + int64_t{token} * pitch;
    if constexpr (sizeof(T) == 2) write_row(to + plan.queries, plan.queries, weights.vectors, 0, query, own);
#pragma unroll
    for (int j = 0; j < 4; ++j) own[j] *= sums[i][j] - delta[j];
    write_row(to, plan.queries, weights.vectors, 0, query, own);
  }
}

// dx = d_scores queries + P d_means.
template <class T, bool tensor>
__global__ void __launch_bounds__(product_threads, sizeof(T) == 4 ? 3 : half_blocks)
    differentiate_tokens(Factor d_scores, Factor queries, Factor d_means, LatentPoolPlan plan,
                         LatentPoolBackwardPointers p, bool vectors, bool eights) {
  const int sample = static_cast<int>(blockIdx.x) / plan.to_tokens.tiles;
  const int2 place = place_of(plan.to_tokens, static_cast<int>(blockIdx.x) % plan.to_tokens.tiles);
  const int row = place.x * product_tile, column = place.y * product_tile;
  float sums[8][4] = {};
  if constexpr (sizeof(T) == 4) {
    __shared__ ProductBuffers buffers;
    multiply_tile<T, false, T, true, tensor>(of_sample<T>(d_scores, sample), queries, row, column, 0, plan.queries,
                                             buffers, sums);
    __syncthreads();  // the buffers are used again
    multiply_tile<T, false, T, true, tensor>(weights_of(plan, p.scores, p.norms, sample), of_sample<T>(d_means, sample),
                                             row, column, 0, plan.queries, buffers, sums);
    if constexpr (tensor && has_tf32) arrange(buffers, sums);
  } else {
    const int count = 2 * plan.queries;
    const Stacked both{queries.data, of_sample<T>(d_means, sample).data, plan.queries, count,
                       plan.width,   queries.vectors && d_means.vectors};
    multiply_alike<T, false, true>(of_sample<T>(d_scores, sample), both, row, column, 0, count, eights, sums);
  }
  write_tile(static_cast<T*>(p.dx) + int64_t{sample} * plan.tokens * plan.width, plan.tokens, plan.width, vectors, row,
             column, sums);
}

}  // namespace spinecore::cuda
