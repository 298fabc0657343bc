// Blocks of pixels times a matrix of channels, for the 1x1 convolution: rows of any dtype as floats, products, results
// in the dtype of the image. In the namespace of the instruction set, like simd.h.
#pragma once

#include "fused_products.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// What one thread needs for products of blocks: results on their way to bfloat16.
SPINECORE_INLINE int64_t product_scratch(int64_t out) { return round_up(block_pixels * out, lanes); }
SPINECORE_INLINE int64_t packed_floats(int64_t depth, int64_t out) { return depth * round_up(out, lanes); }

// `length` values as floats: where they lie, or widened into `memory`.
SPINECORE_INLINE const float* as_floats(const float* from, int64_t, float*) { return from; }
inline const float* as_floats(const BFloat16* from, int64_t length, float* memory) {
  each_vector(length, [&](int64_t i, auto access) { access.put(memory + i, access.get(from + i)); });
  return memory;
}

// y (pixels, out) = a (pixels, in) times packed weights, plus the bias.
struct BlockProduct {
  FusedConv conv{};
  Block block;
  int64_t in;

  BlockProduct(int64_t depth, int64_t out, const float* packed, const float* bias) : in(depth) {
    conv.out = out;
    conv.weights = packed;
    conv.bias = bias;
    conv.kernel = 1;
    block.term_count = 1;
    block.first = 0;
  }
  void run(const float* a, int64_t pixels, float* y, float*) {
    for (int64_t i = 0; i < pixels; i += block_pixels) {
      block.pixels = smaller(block_pixels, pixels - i);
      block.terms[0] = {a + i * in, in, in};
      conv.y = y + i * conv.out;
      panels<FusedActivation::none>(conv, block, in);
    }
  }
  void run(const float* a, int64_t pixels, BFloat16* y, float* memory) {
    for (int64_t i = 0; i < pixels; i += block_pixels) {
      const int64_t count = smaller(block_pixels, pixels - i);
      run(a + i * in, count, memory, nullptr);
      each_vector(count * conv.out,
                  [&](int64_t j, auto access) { access.put(y + i * conv.out + j, access.get(memory + j)); });
    }
  }
};

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
