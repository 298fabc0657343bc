// Gradients of the weights of a 3x3 convolution, in the domain of Winograd's F(4x4, 3x3): the transpose of
//
//   Y = A^T [ sum over channels of (G w G^T) * (B^T d B) ] A   is   dw = G^T [ sum over tiles of (B^T d B) * (A dy A^T)
//   ] G
//
// One product channels x tiles times tiles x results a position. The sums over tiles, blocks and uses of the same
// weights stay in that domain; the way back to 3x3 is taken once.
#pragma once

#include "spinecore/parallel.h"
#include "winograd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// A y: the transpose of transform_output.
SPINECORE_INLINE void transform_gradient(const Vec (&y)[4], Vec (&out)[6]) {
  const Vec even = y[0] + y[2], odd = y[1] + y[3];
  out[0] = y[0];
  out[1] = even + odd;
  out[2] = even - odd;
  out[3] = (y[0] + 0.25f * y[2]) + (0.5f * y[1] + 0.125f * y[3]);
  out[4] = (y[0] + 4.f * y[2]) - (2.f * y[1] + 8.f * y[3]);
  out[5] = y[3];
}

// G^T u: the transpose of transform_weights.
SPINECORE_INLINE void transform_weight_gradient(const Vec (&u)[6], Vec (&out)[3]) {
  const Vec sum = (u[1] - u[2]) * (1.f / 3.f), difference = (u[1] + u[2]) * (1.f / 3.f);
  out[0] = u[0] + sum + (u[3] * -16.f + u[4]) * (1.f / 15.f);
  out[1] = difference - (u[3] * 8.f + u[4] * 2.f) * (1.f / 15.f);
  out[2] = u[5] + sum + (u[4] - u[3]) * (4.f / 15.f);
}

// Sums of one part of the tiles: (36 positions, in, out rounded up).
struct GradientSums {
  int64_t in, out, row, position;

  GradientSums(int64_t in_channels, int64_t out_channels)
      : in(in_channels), out(out_channels), row(round_up(out, lanes)), position(in * row + position_gap) {}
  int64_t floats() const { return positions * position; }
};

// Memory of one thread: both transforms of a block of tiles.
struct GradientBlock {
  int64_t tiles, input_row, input_stride, gradient_stride;
  float *input, *gradient, *zeros;

  // The more tiles, the less often the sums go through the caches; the fewer, the better the block fits there.
  static int64_t tiles_for(int64_t in, int64_t out) {
    const int64_t wide = larger(in, out);
    return wide <= 64 ? 48 : wide <= 128 ? 64 : 128;
  }
  // Long rows of a power of two would fall into few sets of the caches.
  static int64_t row_for(int64_t in) { return round_up(in, lanes) + (in >= 128 ? 16 : 0); }
  static int64_t floats(int64_t in, int64_t out) {
    const int64_t tiles = tiles_for(in, out);
    return positions * (tiles * (row_for(in) + round_up(out, lanes)) + 2 * position_gap) + 6 * in;
  }
  GradientBlock(int64_t in, int64_t out, float* memory)
      : tiles(tiles_for(in, out)),
        input_row(row_for(in)),
        input_stride(tiles * input_row + position_gap),
        gradient_stride(tiles * round_up(out, lanes) + position_gap),
        input(memory),
        gradient(input + positions * input_stride),
        zeros(gradient + positions * gradient_stride) {}
};

// A dy A^T of the four by four, to 36 places `stride` apart.
SPINECORE_INLINE void transform_gradients(const Vec (&values)[4][4], float* to, int64_t stride) {
  Vec half[6][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    Vec out[6];
    transform_gradient({values[0][j], values[1][j], values[2][j], values[3][j]}, out);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    Vec out[6];
    transform_gradient(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store(to + (i * 6 + j) * stride, out[j]);
  }
}

// The same once for all who gather.
__attribute__((noinline)) void transform_gathered_gradients(const Vec (&values)[4][4], float* to, int64_t stride) {
  transform_gradients(values, to, stride);
}

// A dy A^T of one tile, and the values themselves to keep(tile, c, access, values), zeros beyond the image. Results lie
// in panels of `block_tiles` tiles, as the products read them.
template <class Map, class Keep>
SPINECORE_INLINE void gradient_tile(const Mapped<Map>& dy, const Tile& tile, int64_t index, int64_t block_tiles,
                                    float* to, int64_t stride, const Keep& keep) {
  const int64_t next_row = dy.width * dy.channels;
  const int64_t first = ((tile.n * dy.height + tile.y) * dy.width + tile.x) * dy.channels;
  const bool whole = tile.height == 4 && tile.width == 4;
  each_vector(dy.channels, [&](int64_t c, auto access) {
    const auto at = dy.map.channel(c, access);
    const int64_t panel = c / panel_width * panel_width;
    const int64_t width = smaller(panel_width, round_up(dy.channels - panel, lanes));
    float* place = to + panel * block_tiles + index * width + (c - panel);
    if constexpr (std::is_same_v<decltype(access), Whole>) {
      if (whole) {
        Vec values[4][4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) values[i][j] = at(first + i * next_row + j * dy.channels + c);
        }
        keep(tile, c, access, values);
        return transform_gradients(values, place, stride);
      }
    }
    Vec values[4][4] = {};
#pragma GCC unroll 1
    for (int64_t i = 0; i < tile.height; ++i) {
#pragma GCC unroll 1
      for (int64_t j = 0; j < tile.width; ++j) values[i][j] = at(first + i * next_row + j * dy.channels + c);
    }
    keep(tile, c, access, values);
    transform_gathered_gradients(values, place, stride);
  });
}

// Adds what `count` tiles from the `first` of the grid contribute to `sums`.
template <class Source, class Map, class Keep>
void add_weight_gradient(const Source& x, const Mapped<Map>& dy, const TileGrid& grid, int64_t first, int64_t count,
                         const GradientBlock& block, const GradientSums& shape, const Keep& keep, float* sums) {
  fill_zero(block.zeros, 6 * shape.in);
  InputReader<Source> read(x, block.zeros);
  const int64_t blocks = (count + block.tiles - 1) / block.tiles;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = first + count * b / blocks, tiles = first + count * (b + 1) / blocks - begin;
    Tile tile = grid.at(begin);
    for (int64_t t = 0; t < tiles; ++t, grid.advance(tile)) {
      read(tile, block.input + t * block.input_row, block.input_stride);
      gradient_tile(dy, tile, t, tiles, block.gradient, block.gradient_stride, keep);
    }
    for (int64_t k = 0; k < positions; ++k) {
      for (int64_t column = 0; column < shape.out; column += panel_width) {
        const int64_t width = smaller(panel_width, shape.row - column);
        gemm_panel<true>(shape.in, width / lanes,
                         {tiles, block.input + k * block.input_stride, 1, block.input_row,
                          block.gradient + k * block.gradient_stride + column * tiles, width,
                          sums + k * shape.position + column, shape.row});
      }
    }
  }
}

// dw (out, in, 3, 3) = G^T (the sum of all parts, in their order) G. The flag is raised where dw is not finite.
inline bool finish_weight_gradient(const GradientSums& shape, const float* sums, int64_t parts, float* dw, int* flag) {
  const int64_t grain = 1 + (int64_t{1} << 13) / (positions * (1 + shape.in * parts));
  return parallel_for(0, shape.row / lanes, grain, [&](int64_t begin, int64_t end) {
    Vec poison{};
    for (int64_t o = begin * lanes; o < end * lanes; o += lanes) {
      const int64_t real = smaller(lanes, shape.out - o);
      for (int64_t in = 0; in < shape.in; ++in) {
        Vec half[3][6];
        for (int j = 0; j < 6; ++j) {
          Vec u[6] = {}, out[3];
          for (int64_t part = 0; part < parts; ++part) {
            const float* from = sums + part * shape.floats() + in * shape.row + o;
#pragma GCC unroll 6
            for (int i = 0; i < 6; ++i) u[i] += load(from + (i * 6 + j) * shape.position);
          }
          transform_weight_gradient(u, out);
          for (int i = 0; i < 3; ++i) half[i][j] = out[i];
        }
        float taps[9][lanes];
        for (int i = 0; i < 3; ++i) {
          Vec out[3];
          transform_weight_gradient(half[i], out);
          for (int j = 0; j < 3; ++j) {
            poison += not_finite(out[j]);
            store(taps[i * 3 + j], out[j]);
          }
        }
        for (int64_t lane = 0; lane < real; ++lane) {
          float* to = dw + ((o + lane) * shape.in + in) * 9;
          for (int tap = 0; tap < 9; ++tap) to[tap] = taps[tap][lane];
        }
      }
    }
    raise_unless_zero(poison, flag);
  });
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
