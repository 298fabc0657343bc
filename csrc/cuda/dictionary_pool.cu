// Attention of tokens to a dictionary: scores by the shared product, a softmax of every token and head where its tile
// of scores is, and their gradients. The mean over the tokens and the small projections are the caller's.
#include "spinecore/cuda/dictionary_pool.h"

#include <string>

#include "half_tokens.cuh"
#include "launches.h"
#include "matrices.h"

namespace spinecore::cuda {

inline constexpr int softmax_threads = 256;

// P of a tile of scores that begins at this token and entry, by a power of two of lanes for each token and head.
__device__ __forceinline__ void write_weights(const DictionaryPoolPlan& plan, const float (*scores)[product_pitch],
                                              int token, int entry, float* weights) {
  const int count = plan.heads * plan.rows, rows = plan.rows, heads = plan.tile_heads, lanes = plan.softmax_lanes;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  // As many groups as fill whole warps: 64 tokens.
  for (int group = static_cast<int>(threadIdx.x) / lanes; group < product_tile * heads;
       group += product_threads / lanes) {
    const int row = group / heads, column = group % heads * rows;
    float own[2] = {-INFINITY, -INFINITY};  // a head has at most 64 rows
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (lane + 32 * i < rows) own[i] = scores[row][column + lane + 32 * i];
    }
    float top = fmaxf(own[0], own[1]);
    for (int bit = 1; bit < lanes; bit <<= 1) top = fmaxf(top, __shfl_xor_sync(all_lanes, top, bit));
#pragma unroll
    for (int i = 0; i < 2; ++i) own[i] = lane + 32 * i < rows ? expf(own[i] - top) : 0.0f;
    const float total = sum_lanes(own[0] + own[1], 1, lanes);
    if (token + row >= plan.batch * plan.tokens || entry + column >= count) continue;
    float* to = weights + static_cast<int64_t>(token + row) * count + entry + column;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (lane + 32 * i < rows) to[lane + 32 * i] = own[i] / total;
    }
  }
}

// Scores of one tile of tokens and entries, and their softmax; the scores alone where heads are wider than a tile.
template <class T, bool tensor>
__global__ void __launch_bounds__(product_threads, half_blocks)
    weigh_tokens(Tokens tokens, Factor entries, DictionaryPoolPlan plan, float* weights, bool eights,
                 float* workspace) {
  const ProductPlan& product = plan.scores;
  const int tile = static_cast<int>(blockIdx.x) / product.splits, split = static_cast<int>(blockIdx.x) % product.splits;
  const int2 place = place_of(product, tile);
  const int depth = split * product.split_depth, row = place.x * product_tile;
  const int column = place.y * (plan.tile_heads > 0 ? plan.tile_heads * plan.rows : product_tile);
  __shared__ AlikeBuffers<T> buffers;
  float sums[8][4] = {};
  multiply_alike<T, false, false, tensor>(tokens, entries, row, column, depth,
                                          min(depth + product.split_depth, product.k), eights, buffers, sums);
  if (!add_splits(product, workspace, 1, 0, tile, split, sums)) return;
  if (plan.tile_heads == 0) {
    const bool vectors = entries.rows % 4 == 0 && reinterpret_cast<uintptr_t>(weights) % 16 == 0;
    write_tile(weights, tokens.rows, entries.rows, vectors, row, column, sums);
    return;
  }
  auto* scores = reinterpret_cast<float (*)[product_pitch]>(&buffers);
  __syncthreads();  // nobody reads the product's buffers any more
#pragma unroll
  for (int i = 0; i < 8; ++i) write_four(&scores[own_row() + i][own_column()], sums[i]);
  __syncthreads();
  write_weights(plan, scores, row, column, weights);
}

// Of wide heads, a warp for each token and head: weights in the place of scores.
__global__ void __launch_bounds__(softmax_threads) softmax_of_heads(float* scores, int64_t groups, int rows) {
  const int64_t group = (int64_t{blockIdx.x} * softmax_threads + threadIdx.x) / 32;
  if (group >= groups) return;  // the same for a whole warp
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float* own = scores + group * rows;
  float top = -INFINITY, total = 0.0f;
  for (int r = lane; r < rows; r += 32) top = fmaxf(top, own[r]);
  for (int bit = 1; bit < 32; bit <<= 1) top = fmaxf(top, __shfl_xor_sync(all_lanes, top, bit));
  for (int r = lane; r < rows; r += 32) total += expf(own[r] - top);
  total = sum_lanes(total, 1, 32);
  for (int r = lane; r < rows; r += 32) own[r] = expf(own[r] - top) / total;
}

// A warp for each token and head: P (dP - sum P dP), where dP is what the token counts times the gradient of the mean.
template <class T>
__global__ void __launch_bounds__(softmax_threads)
    differentiate_softmax(DictionaryPoolPlan plan, DictionaryPoolBackwardPointers p) {
  const int64_t group = (int64_t{blockIdx.x} * softmax_threads + threadIdx.x) / 32;
  const int64_t token = group / plan.heads, sample = token / plan.tokens;
  if (sample >= plan.batch) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, rows = plan.rows;
  const float* weights = p.weights + group * rows;
  const float* d_mean = p.d_mean + (sample * plan.heads + group % plan.heads) * rows;
  const float share = p.share[token];
  float total = 0.0f;
  for (int r = lane; r < rows; r += 32) total += weights[r] * d_mean[r];
  total = sum_lanes(total, 1, 32);
  T* d_scores = static_cast<T*>(p.d_scores) + group * rows;
  for (int r = lane; r < rows; r += 32) from_float(weights[r] * (d_mean[r] - total) * share, d_scores[r]);
}

namespace {

std::string problem(const char* op, const DictionaryPoolPlan& p) {
  return std::string(op) + " for x with B, N, D = " + std::to_string(p.batch) + ", " + std::to_string(p.tokens) + ", " +
         std::to_string(p.width) + " (" + element_name(p.element) + ", " + std::to_string(p.entries()) + " entries)";
}

// Matrices as x; rows of `share` zero are zeros.
Factor factor_of(const DictionaryPoolPlan& p, const void* data, int rows, int columns, const float* share = nullptr) {
  Factor factor = centred_factor(data, rows, columns, p.element, nullptr, nullptr, share);
  factor.mask_only = true;
  return factor;
}

// Halves are multiplied as they are, floats in tf32 where allowed. The result is of `element`.
cudaError_t multiply_either(const Side& left, const Side& right, const ProductPlan& plan, bool tf32, void* result,
                            Element element, float* workspace, void* stream) {
  if (left.factor.element != Element::float32 || tf32) {
    return multiply_matrices(left, right, plan, result, workspace, stream);
  }
  Outcome outcome{};
  outcome.result = result;
  outcome.element = element;
  return multiply(left, right, plan, outcome, false, workspace, stream);
}

cudaLaunchConfig_t warp_for_each_head(const DictionaryPoolPlan& p, void* stream) {
  const int64_t groups = int64_t{p.batch} * p.tokens * p.heads;
  return launch_configuration(divide_up(32 * groups, softmax_threads), softmax_threads, stream);
}

}  // namespace

DictionaryPoolPlan dictionary_pool_plan(int batch, int tokens, int width, int heads, int rows, Element element,
                                        bool tf32) {
  DictionaryPoolPlan p;
  p.batch = batch;
  p.tokens = tokens;
  p.width = width;
  p.heads = heads;
  p.rows = rows;
  p.element = element;
  p.tf32 = tf32;
  p.tile_heads = std::min(heads, product_tile / rows);
  while (p.softmax_lanes < std::min(rows, 32)) p.softmax_lanes *= 2;
  // A tile of scores ends with a head.
  const int columns = p.tile_heads > 0 ? static_cast<int>(divide_up(heads, p.tile_heads)) * product_tile : p.entries();
  p.scores = product_plan(batch * tokens, columns, width, false);
  p.to_tokens = product_plan(batch * tokens, width, p.entries(), false);
  p.to_entries = product_plan(p.entries(), width, batch * tokens, false);
  p.forward_workspace = p.scores.workspace;
  p.backward_workspace = std::max(p.to_tokens.workspace, p.to_entries.workspace);
  return p;
}

Status dictionary_pool_forward(const DictionaryPoolPlan& plan, const DictionaryPoolForwardPointers& p, void* stream) {
  const char* what = "the reset of its tickets";
  const Tokens tokens{factor_of(plan, p.x, plan.batch * plan.tokens, plan.width, p.share)};
  const Factor entries = factor_of(plan, p.entries, plan.entries(), plan.width);
  cudaError_t error = cudaSuccess;
  if (plan.scores.tickets > 0) {
    const auto tickets = sizeof(unsigned) * static_cast<size_t>(plan.scores.tickets);
    error = cudaMemsetAsync(p.workspace, 0, tickets, static_cast<cudaStream_t>(stream));
  }
  if (error == cudaSuccess) {
    what = "the weights";
    const bool eights = in_eights(p.x, plan.width) && in_eights(p.entries, plan.width);
    const auto config = launch_configuration(int64_t{plan.scores.tiles} * plan.scores.splits, product_threads, stream);
    error = for_factors(plan.element, plan.tf32, [&](auto element, auto tensor) {
      return cudaLaunchKernelEx(&config, &weigh_tokens<decltype(element), decltype(tensor)::value>, tokens, entries,
                                plan, p.weights, eights, p.workspace);
    });
  }
  if (error == cudaSuccess && plan.tile_heads == 0) {
    what = "the softmax";
    const auto config = warp_for_each_head(plan, stream);
    error = cudaLaunchKernelEx(&config, &softmax_of_heads, p.weights, int64_t{plan.batch} * plan.tokens * plan.heads,
                               plan.rows);
  }
  return launch_status(error, what, problem("dictionary_pool_forward", plan));
}

Status dictionary_pool_backward(const DictionaryPoolPlan& plan, const DictionaryPoolBackwardPointers& p, void* stream) {
  const char* what = "the gradient of the scores";
  const int all = plan.batch * plan.tokens;
  const auto config = warp_for_each_head(plan, stream);
  cudaError_t error = for_element(plan.element, [&](auto element) {
    return cudaLaunchKernelEx(&config, &differentiate_softmax<decltype(element)>, plan, p);
  });
  const Factor d_scores = factor_of(plan, p.d_scores, all, plan.entries());
  if (error == cudaSuccess) {
    what = "the gradient of the tokens";
    const Side entries{factor_of(plan, p.entries, plan.entries(), plan.width), true};
    error =
        multiply_either({d_scores, false}, entries, plan.to_tokens, plan.tf32, p.dx, plan.element, p.workspace, stream);
  }
  if (error == cudaSuccess) {
    what = "the gradient of the entries";
    const Side tokens{factor_of(plan, p.x, all, plan.width, p.share), true};
    error = multiply_either({d_scores, true}, tokens, plan.to_entries, plan.tf32, p.d_entries, Element::float32,
                            p.workspace, stream);
  }
  return launch_status(error, what, problem("dictionary_pool_backward", plan));
}

}  // namespace spinecore::cuda
