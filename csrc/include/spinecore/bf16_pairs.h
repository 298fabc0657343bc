// Products of bfloat16 by vdpbf16ps: two terms of a sum a step, float32 sums. In the namespace of the instruction set.
//
// Two terms that follow one another, the first in the low half, lie in 32 bits in the place of one float: Left and
// Right (matrix.h) then count pairs. Only on processors with AVX512-BF16 (has_bf16_products), which not all of those
// with AVX-512 are: hence assembly, and not what the compiler allows for this file.
#pragma once

#include "spinecore/matrix.h"

#if defined(__AVX512F__)
#define SPINECORE_BF16_PAIRS

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

struct PairTerms {
  static SPINECORE_INLINE Vec factor(const float* a) {
    int32_t bits;
    std::memcpy(&bits, a, sizeof(bits));
    return bits_as<Vec>(_mm512_set1_epi32(bits));
  }
  static SPINECORE_INLINE Vec add(Vec sum, Vec factor, Vec row) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(row), "v"(factor));
    return sum;
  }
};

SPINECORE_INLINE Vec as_pairs(VecHalf first, VecHalf second) {
  return bits_as<Vec>(__builtin_convertvector(first, VecBits) | __builtin_convertvector(second, VecBits) << 16);
}

// The first `count` of a vector, zeros behind them; none where that is not positive.
SPINECORE_INLINE VecHalf load_halves(const BFloat16* from, int64_t count) {
  if (count <= 0) return VecHalf{};
  return bits_as<VecHalf>(_mm256_maskz_loadu_epi16(first_lanes(count), from));
}
SPINECORE_INLINE void store(float* to, VecHalf halves) { std::memcpy(to, &halves, sizeof(halves)); }

// Rows 2k and 2k + 1 of `from` (rows, columns) as row k of `to`; a last row without a second is paired with zeros.
// `to` may be `from`.
inline void pair_rows(const float* from, int64_t row, int64_t rows, int64_t columns, float* to, int64_t to_row) {
  for (int64_t k = 0; k < rows; k += 2, from += 2 * row, to += to_row) {
    for (int64_t i = 0; i < columns; i += lanes) {
      const VecHalf second = k + 1 < rows ? narrow(load(from + row + i)) : VecHalf{};
      store(to + i, as_pairs(narrow(load(from + i)), second));
    }
  }
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore

#endif
