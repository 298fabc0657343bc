// 3x3 convolution by Winograd's F(4x4, 3x3): a tile of 4x4 results from 6x6 values with 36 products instead of 144.
//
//   Y = A^T [ sum over channels of (G w G^T) * (B^T d B) ] A
//
// Points 0, 1, -1, 1/2, -2 and infinity: half the rounding error of the usual 0, +-1, +-2. Images are (N, H, W, C); the
// products of a block of tiles are 36 small matrix products, tiles x channels times channels x results, one a position.
#pragma once

#include <cstdint>

#include "spinecore/cpu_features.h"
#include "spinecore/gemm.h"
#include "spinecore/rows.h"
#include "spinecore/winograd.h"
#include "winograd_tiles.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

constexpr int positions = 36;
// Between the positions of a block in memory: powers of two would all fall into the same cache sets.
constexpr int64_t position_gap = 16;

SPINECORE_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
SPINECORE_INLINE int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// ---- results past the caches --------------------------------------------------------------------------------------
// Where an image is larger, the caches lose it before it is read again, and fetching what is overwritten is for
// nothing.
constexpr int64_t streaming_bytes = int64_t{2} << 20;

template <class T>
SPINECORE_INLINE bool vectors_aligned(const T* image, int64_t channels) {
  return reinterpret_cast<uintptr_t>(image) % (lanes * sizeof(T)) == 0 && channels % lanes == 0;
}
// Written pixel by pixel.
template <class T>
SPINECORE_INLINE bool can_stream(const T* image, int64_t pixels, int64_t channels) {
  return vectors_aligned(image, channels) && pixels * channels * static_cast<int64_t>(sizeof(T)) > streaming_bytes;
}
// Written tile by tile: one vector of channels of all its pixels, then the next. What does not fill a line of the cache
// by that goes to memory in parts, which is several times as slow.
template <class T>
constexpr bool tiles_fill_lines(int64_t channels) {
  return lanes * sizeof(T) >= 64 || channels == lanes;
}

// `streamed` only where can_stream says so.
template <class T, class Access>
SPINECORE_INLINE void put_result(Access access, T* to, Vec value, bool streamed) {
  if constexpr (std::is_same_v<Access, Whole>) {
    if (streamed) return stream(to, value);
  }
  access.put(to, value);
}

// ---- reading ahead ------------------------------------------------------------------------------------------------
// While the products of one block keep the arithmetic busy, memory fetches what the next block of tiles will read, or
// write through the caches: new rows of whole images of one shape.
struct ReadAhead {
  static constexpr int most = 4;
  const char* images[most] = {};
  int64_t pixel_bytes = 0, height = 0, width = 0, tiles = 0;  // tiles of the grid

  template <class T>
  void add(const T* image) {
    for (const char*& place : images) {
      if (place == nullptr) {
        place = reinterpret_cast<const char*>(image);
        return;
      }
    }
  }
  SPINECORE_INLINE void operator()(const TileGrid& grid, int64_t begin, int64_t end) const {
    end = smaller(end, tiles);
    for (int64_t t = begin; t < end; ++t) {
      const Tile tile = grid.at(t);
      for (int64_t i = 1; i < 5; ++i) {
        const int64_t y = smaller(tile.y + i, height - 1);
        const int64_t first = ((tile.n * height + y) * width + tile.x) * pixel_bytes;
        for (const char* image : images) {
          if (image == nullptr) break;
          for (int64_t byte = 0; byte < tile.width * pixel_bytes; byte += 64) {
            __builtin_prefetch(image + first + byte, 0, 2);
          }
        }
      }
    }
  }
};

// ---- the convolution of a block of tiles --------------------------------------------------------------------------
// Memory of one thread: transformed tiles, their products, and six pixels of zeros.
struct Block {
  int64_t tiles, input_stride, product_stride, zero_count;
  float *input, *product, *zeros;

  // `step` is that of the image that is read.
  Block(int64_t in, int64_t out, int64_t step, float* memory)
      : tiles(tiles_for(in)),
        input_stride(input_stride_of(in)),
        product_stride(product_stride_of(in, out)),
        zero_count(6 * step),
        input(memory),
        product(input + positions * input_stride),
        zeros(product + positions * product_stride) {}
  Block(int64_t in, int64_t out, float* memory) : Block(in, out, in, memory) {}

  static int64_t floats(int64_t in, int64_t out, int64_t step) {
    const Block block(in, out, step, nullptr);
    return positions * (block.input_stride + block.product_stride) + block.zero_count;
  }
  static int64_t floats(int64_t in, int64_t out) { return floats(in, out, in); }
  // Enough tiles to fill the registers of the products and to share each weight read, in half of a 1 MiB second level.
  // Processors with more of it have a slower third level: many weights are then read less often.
  SPINECORE_INLINE static int64_t tiles_for(int64_t channels) {
    if (channels <= 32) return 48;
    if (channels <= 64) return 24;
    static const bool large = second_level_bytes() >= (int64_t{2} << 20);
    return large ? 48 : channels <= 128 ? 24 : 18;
  }
  // Constants where the channels are.
  SPINECORE_INLINE static int64_t input_stride_of(int64_t in) {
    return tiles_for(in) * round_up(in, lanes) + position_gap;
  }
  SPINECORE_INLINE static int64_t product_stride_of(int64_t in, int64_t out) {
    return tiles_for(in) * smaller(panel_width, round_up(out, lanes)) + position_gap;
  }
};

// Calls body(channels) with these widths as constants. Not with the baseline set, which takes its time to compile and
// is not chosen for convolutions.
template <int64_t... widths, class Body>
SPINECORE_INLINE void with_known_width(int64_t channels, const Body& body) {
  if constexpr (lanes >= 8) {
    with_constant_length<widths...>(channels, body);
  } else {
    body(channels);
  }
}

// Convolves `count` tiles from the `first` of the grid. `epilogue(tile, c, access, results)` gets the 4x4 results of
// the channels from c on, a vector each, and writes those that lie within the image.
// `in` and `out` are those of the weights. As constants they save the arithmetic for 36 places a tile, twice: 12 % of
// all at 16 channels, 4 % at 64.
template <class Channels, class Source, class Epilogue>
void convolve_tiles(Channels in, Channels out, const WinogradWeights& w, const Source& image, const TileGrid& grid,
                    int64_t first, int64_t count, const Block& block, const Epilogue& epilogue,
                    const ReadAhead& ahead = {}) {
  const int64_t row = round_up(in, lanes), input_stride = Block::input_stride_of(in);
  const int64_t product_stride = Block::product_stride_of(in, out);
  fill_zero(block.zeros, block.zero_count);
  InputReader<Source> read(image, block.zeros);
  // Blocks of equal size: a short last one would waste the registers of the products.
  const int64_t blocks = (count + block.tiles - 1) / block.tiles;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = first + count * b / blocks, tiles = first + count * (b + 1) / blocks - begin;
    const Tile start = grid.at(begin);
    Tile tile = start;
    for (int64_t t = 0; t < tiles; ++t, grid.advance(tile)) {
      read(tile, block.input + t * row, input_stride, in);
    }
    for (int64_t column = 0; column < out; column += panel_width) {
      const int64_t width = smaller(panel_width, round_up(out - column, lanes));
      const float* weights = w.data + column * positions * in;
      const auto multiply = [&](auto constant_row) {
        for (int64_t k = 0; k < positions; ++k) {
          if (column == 0) {
            ahead(grid, begin + tiles + tiles * k / positions, begin + tiles + tiles * (k + 1) / positions);
          }
          gemm_panel<false, constant_row>(tiles, width / lanes,
                                          {in, block.input + k * input_stride, row, 1, weights + k * in * width, width,
                                           block.product + k * product_stride, width});
        }
      };
      switch (row) {
        case 16:
          multiply(std::integral_constant<int64_t, 16>{});
          break;
        case 32:
          multiply(std::integral_constant<int64_t, 32>{});
          break;
        case 48:
          multiply(std::integral_constant<int64_t, 48>{});
          break;
        case 64:
          multiply(std::integral_constant<int64_t, 64>{});
          break;
        case 96:
          multiply(std::integral_constant<int64_t, 96>{});
          break;
        default:
          multiply(std::integral_constant<int64_t, 0>{});
      }
      tile = start;
      for (int64_t t = 0; t < tiles; ++t, grid.advance(tile)) {
        const float* product = block.product + t * width;
        each_vector(smaller(width, out - column), [&](int64_t c, auto access) {
          Vec half[4][6], results[4][4];
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j) {
            Vec m[6], folded[4];
#pragma GCC unroll 6
            for (int i = 0; i < 6; ++i) m[i] = load(product + (i * 6 + j) * product_stride + c);
            transform_output(m, folded);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) half[i][j] = folded[i];
          }
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) transform_output(half[i], results[i]);
          epilogue(tile, column + c, access, results);
        });
      }
    }
  }
}

template <class Source, class Epilogue>
void convolve_tiles(const WinogradWeights& w, const Source& image, const TileGrid& grid, int64_t first, int64_t count,
                    const Block& block, const Epilogue& epilogue, const ReadAhead& ahead = {}) {
  convolve_tiles(w.in, w.out, w, image, grid, first, count, block, epilogue, ahead);
}

// Calls body(i, j) for the pixels of a tile that lie within the image; written out where most of them are.
template <class Access, class Body>
SPINECORE_INLINE void each_pixel(const Tile& tile, Access, const Body& body) {
  if constexpr (std::is_same_v<Access, Whole>) {
    if (tile.height == 4 && tile.width == 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) body(i, j);
      }
      return;
    }
  }
#pragma GCC unroll 1
  for (int i = 0; i < tile.height; ++i) {
#pragma GCC unroll 1
    for (int j = 0; j < tile.width; ++j) body(i, j);
  }
}

// max(x, 0) that lets NaN pass, as torch's does: where one is NaN, x86's maximum is its second operand.
SPINECORE_INLINE Vec relu(Vec value) {
#if defined(__AVX512F__)
  return bits_as<Vec>(_mm512_max_ps(_mm512_setzero_ps(), bits_as<__m512>(value)));
#elif defined(__AVX2__)
  return bits_as<Vec>(_mm256_max_ps(_mm256_setzero_ps(), bits_as<__m256>(value)));
#else
  return value < splat(0.f) ? splat(0.f) : value;
#endif
}

// The transform spreads a NaN or an infinity over its tile, and never loses one: whoever calls has the reference
// compute what is not finite. A flag is raised by the sum of value - value, which is zero for numbers.
SPINECORE_INLINE Vec not_finite(Vec value) { return value - value; }
SPINECORE_INLINE void raise_unless_zero(Vec total, int* flag) {
  if (!(sum(total) == 0.f)) __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
}

inline bool all_finite(const float* values, int64_t count) {
  Vec poison{};
  each_vector(count, [&](int64_t i, auto access) { poison += not_finite(access.get(values + i)); });
  return sum(poison) == 0.f;
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
