// Latent attention pooling: the kernels, compiled once per instruction set. Equations and arguments:
// spinecore/latent_attention_pool.h.
//
// Nearly all work is two products a direction for every block of tokens, both with a right factor that stays in the
// second cache level. Scores lie token by token with heads and latents in the lanes, so that the softmax over tokens
// is vertical and P needs no transposing to be a left factor.
#include "spinecore/latent_attention_pool.h"

#include "latent_attention_backward.h"
#include "latent_attention_forward.h"
#include "latent_attention_pairs.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

bool forward(const LatentAttentionForward& a) {
#if defined(SPINECORE_BF16_PAIRS)
  if (a.pairs) return run_forward<BFloat16, PairProducts>(a);
#endif
  return a.dtype == DType::bfloat16 ? run_forward<BFloat16>(a) : run_forward<float>(a);
}

bool backward(const LatentAttentionBackward& a) {
  return a.dtype == DType::bfloat16 ? run_backward<BFloat16>(a) : run_backward<float>(a);
}

}  // namespace

extern const LatentAttentionKernels latent_attention_pool_kernels;
const LatentAttentionKernels latent_attention_pool_kernels{forward, backward};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
