// mma.sync and ldmatrix: all 32 lanes of a warp together, with the fragment layouts of the PTX ISA. Products and sums
// in float32; how a tensor core orders and truncates them is not modelled.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda_bf16.h"
#include "emulation/block.h"
#include "emulation/warp_ops.h"

namespace emulation {

enum class MmaType { bf16, f16, tf32 };

template <MmaType type>
float mma_element(uint32_t bits, int half) {
  float value = 0;
  if constexpr (type == MmaType::tf32) {
    bits &= 0xffffe000u;
    std::memcpy(&value, &bits, 4);
  } else if constexpr (type == MmaType::f16) {
    const auto narrow = static_cast<uint16_t>(bits >> (16 * half));
    _Float16 number;
    std::memcpy(&number, &narrow, 2);
    value = static_cast<float>(number);
  } else {
    value = __bfloat162float({static_cast<uint16_t>(bits >> (16 * half))});
  }
  return value;
}

struct MmaArgument {
  float* d;  // four accumulators, in and out
  const uint32_t *a, *b;
};

template <int k, MmaType type>
EMULATION_RUNTIME void multiply(Thread** lanes, uint32_t mask) {
  if (mask != ~0u) fail("mma.sync needs all 32 lanes");
  constexpr int each = type == MmaType::tf32 ? 1 : 2;  // elements of a register
  constexpr int a_registers = 16 * k / 32 / each, b_registers = 8 * k / 32 / each;
  float a[16][k], b[k][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* mine = static_cast<const MmaArgument*>(lanes[lane]->argument);
    const int group = lane / 4, member = lane % 4;
    for (int half = 0; half < each; ++half) {
      for (int r = 0; r < a_registers; ++r) {
        a[group + r % 2 * 8][member * each + half + r / 2 * 4 * each] = mma_element<type>(mine->a[r], half);
      }
      for (int r = 0; r < b_registers; ++r) {
        b[member * each + half + r * 4 * each][group] = mma_element<type>(mine->b[r], half);
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* mine = static_cast<MmaArgument*>(lanes[lane]->argument);
    const int group = lane / 4, member = lane % 4;
    for (int r = 0; r < 4; ++r) {
      float sum = mine->d[r];
      for (int i = 0; i < k; ++i) sum += a[group + r / 2 * 8][i] * b[i][member * 2 + r % 2];
      mine->d[r] = sum;
    }
  }
}

template <int k, MmaType type>
void mma(float* d, const uint32_t* a, const uint32_t* b) {
  MmaArgument argument{d, a, b};
  warp_meeting(~0u, "mma.sync", &argument, &multiply<k, type>);
}

struct LdmatrixArgument {
  uint32_t* d;
  const unsigned char* row;
};

template <int matrices, bool transposed>
EMULATION_RUNTIME void load_matrices(Thread** lanes, uint32_t) {
  for (int lane = 0; lane < 32; ++lane) {
    auto* mine = static_cast<LdmatrixArgument*>(lanes[lane]->argument);
    for (int matrix = 0; matrix < matrices; ++matrix) {
      uint32_t word = 0;
      for (int half = 0; half < 2; ++half) {
        const int row = transposed ? lane % 4 * 2 + half : lane / 4,
                  column = transposed ? lane / 4 : lane % 4 * 2 + half;
        const auto* source = static_cast<LdmatrixArgument*>(lanes[matrix * 8 + row]->argument);
        uint16_t element = 0;
        std::memcpy(&element, source->row + 2 * column, 2);
        word |= static_cast<uint32_t>(element) << (16 * half);
      }
      mine->d[matrix] = word;
    }
  }
}

template <int matrices, bool transposed>
void ldmatrix(uint32_t* d, const unsigned char* row) {
  if (lane() / 8 < matrices) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("ldmatrix row is not aligned to 16 bytes");
    // The lane's own read, where TSan can see it.
    static_cast<void>(*reinterpret_cast<const volatile uint64_t*>(row));
    static_cast<void>(*reinterpret_cast<const volatile uint64_t*>(row + 8));
  }
  LdmatrixArgument argument{d, row};
  warp_meeting(~0u, "ldmatrix", &argument, &load_matrices<matrices, transposed>);
}

}  // namespace emulation
