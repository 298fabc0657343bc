// Transforms the weights of a 3x3 convolution: G w G^T for every pair of channels, results in the lanes.
#include "spinecore/parallel.h"
#include "winograd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

bool transform(const WinogradTransform& a) {
  const int64_t next_out = a.transposed ? 9 : a.in * 9, next_in = a.transposed ? a.out * 9 : 9;
  const int64_t grain = 1 + (int64_t{1} << 12) / (1 + a.out);
  return parallel_for(0, a.in, grain, [&](int64_t begin, int64_t end) {
    for (int64_t column = 0; column < a.out; column += panel_width) {
      const int64_t width = smaller(panel_width, round_up(a.out - column, lanes));
      float* panel = a.to + column * positions * a.in;
      for (int64_t in = begin; in < end; ++in) {
        for (int64_t c = 0; c < width; c += lanes) {
          const int64_t real = smaller(lanes, a.out - column - c);
          const float* w = a.w + (column + c) * next_out + in * next_in;
          Vec taps[9];
          for (int tap = 0; tap < 9; ++tap) {
            const float* from = w + (a.transposed ? 8 - tap : tap);
            float values[lanes] = {};
            for (int64_t lane = 0; lane < real; ++lane) values[lane] = from[lane * next_out];
            taps[tap] = load(values);
          }
          Vec half[6][3];
#pragma GCC unroll 3
          for (int j = 0; j < 3; ++j) {
            Vec out[6];
            transform_weights({taps[j], taps[3 + j], taps[6 + j]}, out);
#pragma GCC unroll 6
            for (int i = 0; i < 6; ++i) half[i][j] = out[i];
          }
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) {
            Vec out[6];
            transform_weights(half[i], out);
#pragma GCC unroll 6
            for (int j = 0; j < 6; ++j) store(panel + ((i * 6 + j) * a.in + in) * width + c, out[j]);
          }
        }
      }
    }
  });
}

}  // namespace

extern const WinogradKernels winograd_kernels;
const WinogradKernels winograd_kernels{lanes, transform};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
