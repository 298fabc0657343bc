// Latent attention pooling of bfloat16 tokens, forward, absorbed: keys and exponentials are rounded to bfloat16 too,
// and the products over tokens take two terms a step. Sums, softmax and all that is done once a call stay float32.
#pragma once

#include "latent_attention_forward.h"
#include "spinecore/bf16_pairs.h"

#if defined(SPINECORE_BF16_PAIRS)

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// The memory of the float32 tokens holds them twice: token by token in pairs of neighbouring features, a left factor,
// and pairs of tokens feature by feature, a right factor.
struct PairProducts {
  static constexpr int64_t gap = latent_row_gap / 2;  // two halves of token_row

  static int64_t features_row(const Geometry& g) { return g.padded / 2 + gap; }
  static float* token_pairs(const Geometry& g, const ForwardScratch& s) { return s.tokens + g.block * features_row(g); }

  static void pack_keys(const Geometry& g, float* keys_t, int64_t begin, int64_t end, float* to) {
    const int64_t row = keys_row(g);
    float* rows = keys_t + begin * row;
    pair_rows(rows, row, end - begin, g.columns, rows, row);
    pack_rows(rows - begin / 2 * row, row, begin / 2, end / 2, g.padded / 2, g.columns, to);
  }

  static void gather(const Geometry& g, const BFloat16* x, const Block& block, const ForwardScratch& s) {
    float *features = s.tokens, *pairs = token_pairs(g, s);
    for (int64_t n = 0; n < block.count; n += 2, features += 2 * features_row(g), pairs += token_row(g)) {
      const BFloat16* first = x + block.token[n] * g.width;
      const BFloat16* second = n + 1 < block.count ? x + block.token[n + 1] * g.width : nullptr;
      for (int64_t i = 0; i < g.padded; i += lanes) {
        const int64_t count = smaller(lanes, g.width - i);
        const VecHalf a = load_halves(first + i, count);
        const VecHalf b = second == nullptr ? VecHalf{} : load_halves(second + i, count);
        store(features + i / 2, a);
        if (second != nullptr) store(features + features_row(g) + i / 2, b);
        store(pairs + i, as_pairs(a, b));
      }
    }
  }

  static void score(const Geometry& g, const Block& block, const float* packed_keys, const float* /*queries_t*/,
                    const ForwardScratch& s) {
    multiply<false, PairTerms>(block.count, g.columns, g.padded / 2, as_it_is(s.tokens, features_row(g)),
                               packed(packed_keys), s.scores, s.scores_row);
  }

  template <bool accumulate>
  static void sum(const LatentAttentionForward& a, const Block& block, const ForwardScratch& s, float* sums) {
    const auto& g = a.geometry;
    pair_rows(s.scores, s.scores_row, block.count, g.columns, s.scores, s.scores_row);
    multiply<accumulate, PairTerms>(g.heads * g.rows, g.padded, (block.count + 1) / 2,
                                    transposed(s.scores, s.scores_row), in_rows(token_pairs(g, s), token_row(g)), sums,
                                    g.padded);
  }
};

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore

#endif
