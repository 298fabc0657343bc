// What the two latent poolings share: sizes, and how the scores of a token lie.
#pragma once

#include <cstdint>

namespace spinecore {

constexpr int64_t latent_padding = 16;  // widths are multiples of it: vectors of every instruction set fit
constexpr int64_t latent_row_gap = 16;  // keeps rows of a power of two out of one another's cache sets

// What caller and kernel agree on before any memory is touched. Sums over tokens run over fixed parts and are then
// added in order, so that a result never depends on the number of threads.
struct LatentPoolGeometry {
  int64_t batch, tokens, width, rows, heads;
  int64_t padded;        // the padded width
  int64_t head, inner;   // padded width of a head, and of all heads
  bool absorbed;         // projections are absorbed into what the tokens are compared with
  int64_t head_columns;  // scores of a head in the row of a token: rows, or padded rows where heads are apart
  int64_t columns;       // scores of a token, padded
  int64_t block;         // tokens that are worked on together
  int64_t splits;        // parts of the tokens of one sample
  int64_t slots;         // parts of all samples and splits with memory of their own
  int64_t group;         // samples whose forward runs together
};

}  // namespace spinecore
