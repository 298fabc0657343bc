// The parts of Winograd's F(4x4, 3x3) that know no products: transforms of a tile, images, and how tiles are read from
// them. See winograd.h.
#pragma once

#include <cstdint>

#include "spinecore/rows.h"
#include "spinecore/simd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// ---- one-dimensional transforms -----------------------------------------------------------------------------------
// B^T d. With q(x) = (x - 1/2)(x + 2), the rows of B^T are multiples of q or of x^3 - x.
SPINECORE_INLINE void transform_input(const Vec (&d)[6], Vec (&out)[6]) {
  const Vec q0 = d[2] + 1.5f * d[1] - d[0];
  const Vec q1 = d[3] + 1.5f * d[2] - d[1];
  const Vec q2 = d[4] + 1.5f * d[3] - d[2];
  const Vec q3 = d[5] + 1.5f * d[4] - d[3];
  const Vec r1 = d[3] - d[1], r2 = d[4] - d[2];
  out[0] = q2 - q0;
  out[1] = q2 + q1;
  out[2] = q2 - q1;
  out[3] = r2 + 2.f * r1;
  out[4] = r2 - 0.5f * r1;
  out[5] = q3 - q1;
}

// A^T m
SPINECORE_INLINE void transform_output(const Vec (&m)[6], Vec (&out)[4]) {
  const Vec sum12 = m[1] + m[2], difference = m[1] - m[2];
  out[0] = (m[0] + m[3]) + (sum12 + m[4]);
  out[1] = difference + 0.5f * m[3] - 2.f * m[4];
  out[2] = sum12 + 0.25f * m[3] + 4.f * m[4];
  out[3] = (difference + m[5]) + 0.125f * m[3] - 8.f * m[4];
}

// G w
SPINECORE_INLINE void transform_weights(const Vec (&w)[3], Vec (&out)[6]) {
  const Vec even = (w[0] + w[2]) * (1.f / 3.f), odd = w[1] * (1.f / 3.f);
  out[0] = w[0];
  out[1] = even + odd;
  out[2] = odd - even;
  out[3] = w[0] * (-16.f / 15.f) + w[1] * (-8.f / 15.f) + w[2] * (-4.f / 15.f);
  out[4] = w[0] * (1.f / 15.f) + w[1] * (-2.f / 15.f) + w[2] * (4.f / 15.f);
  out[5] = w[2];
}

// ---- images and tiles ---------------------------------------------------------------------------------------------
// Rows of pixels, `channels` values each. A ring holds the last rows of one image only: `rows` of them, a multiple of
// four, so that the rows of a tile always follow one another.
template <class T>
struct Image {
  T* data;
  int64_t height, width, channels;
  int64_t row_step;           // from one row to the next
  int64_t rows, sample_rows;  // both the height, or those of the ring and zero
  int64_t inverse;            // of the rows of a ring, times 2^32: a division for every row would cost a tenth
  bool distant;               // lies in main memory: worth asking for a row of tiles ahead
  int64_t step;               // from one pixel to the next: more than `channels` in a slice of an image's channels

  static Image whole(T* data, int64_t height, int64_t width, int64_t channels, bool distant = false) {
    return {data, height, width, channels, width * channels, height, height, 0, distant, channels};
  }
  static Image slice(T* data, int64_t height, int64_t width, int64_t channels, int64_t step) {
    return {data, height, width, channels, width * step, height, height, 0, false, step};
  }
  // Exact for rows * height < 2^32.
  static Image ring(T* memory, int64_t rows, int64_t row_pixels, int64_t height, int64_t width, int64_t channels) {
    const int64_t row_step = row_pixels * channels, inverse = (int64_t{1} << 32) / rows + 1;
    return {memory, height, width, channels, row_step, rows, 0, inverse, false, channels};
  }
  operator Image<const T>() const {
    return {data, height, width, channels, row_step, rows, sample_rows, inverse, distant, step};
  }
  SPINECORE_INLINE T* pixel(int64_t n, int64_t y, int64_t x) const {
    const int64_t row = y - (y * inverse >> 32) * rows;  // the remainder in a ring
    return data + (n * sample_rows + row) * row_step + x * step;
  }
  // Of a pixel of a tile from the tile's first; `known_step` is `step`, perhaps as a constant.
  SPINECORE_INLINE int64_t offset(int64_t i, int64_t j) const { return offset(i, j, step); }
  template <class Step>
  SPINECORE_INLINE int64_t offset(int64_t i, int64_t j, Step known_step) const {
    return i * row_step + j * known_step;
  }
};

struct Tile {
  int64_t n, y, x;        // sample and first pixel of the result
  int64_t height, width;  // how much of the 4x4 lies within the image
};

// Tiles of all samples in one order: rows of tiles, sample by sample.
struct TileGrid {
  int64_t height, width, down, across;

  TileGrid(int64_t h, int64_t w) : height(h), width(w), down((h + 3) / 4), across((w + 3) / 4) {}
  SPINECORE_INLINE Tile at(int64_t index) const {
    const int64_t x = index % across * 4, row = index / across, y = row % down * 4;
    return {row / down, y, x, smaller(4, height - y), smaller(4, width - x)};
  }
  SPINECORE_INLINE void advance(Tile& tile) const {
    tile.x += 4;
    if (tile.x >= width) {
      tile.x = 0;
      tile.y += 4;
      if (tile.y >= height) {
        tile.y = 0;
        ++tile.n;
      }
      tile.height = smaller(4, height - tile.y);
    }
    tile.width = smaller(4, width - tile.x);
  }
};

// What is computed from whole images while it is read: `map.channel(c, access)` answers with the function from the
// offset of an element to its value, and is asked once a tile, so that the coefficients of a channel stay in registers.
template <class Map>
struct Mapped {
  Map map;
  int64_t height, width, channels;
};

// B^T d B of the six by six that `value(row, column)` answers with, to 36 places `stride` apart.
template <class Value>
SPINECORE_INLINE void transform_values(const Value& value, float* to, int64_t stride) {
  Vec half[6][6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    Vec column[6], out[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) column[i] = value(i, j);
    transform_input(column, out);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    Vec out[6];
    transform_input(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store(to + (i * 6 + j) * stride, out[j]);
  }
}

// The same of gathered values: one for all sources, as they are rarely gathered.
__attribute__((noinline)) void transform_gathered(const Vec (&columns)[6][6], float* to, int64_t stride) {
  transform_values([&columns](int i, int j) { return columns[j][i]; }, to, stride);
}

// B^T d B of one tile. `channel(c, access)` answers with the function from (row, column) of the six by six to its
// value; columns from `begin` to `end` lie within the image, the others are zero and not asked for.
template <bool inside, class Channel>
SPINECORE_INLINE void transform_input_tile(const Channel& channel, int begin, int end, int64_t channels, float* to,
                                           int64_t stride) {
  each_vector(channels, [&](int64_t c, auto access) {
    const auto value = channel(c, access);
    if constexpr (inside && std::is_same_v<decltype(access), Whole>) {
      transform_values(value, to + c, stride);
    } else {  // at a border, or the last few channels: written out once more they would double the machine code
      Vec columns[6][6];
#pragma GCC unroll 1
      for (int j = 0; j < 6; ++j) {
        const bool within = j >= begin && j < end;
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) columns[j][i] = within ? value(i, j) : Vec{};
      }
      transform_gathered(columns, to + c, stride);
    }
  });
}

template <class Source>
SPINECORE_INLINE bool has_whole_input(const Source& image, const Tile& tile) {
  return tile.y > 0 && tile.x > 0 && tile.y + 5 <= image.height && tile.x + 5 <= image.width;
}
template <class Source>
SPINECORE_INLINE int end_of_input(const Source& image, const Tile& tile) {
  return static_cast<int>(smaller(6, image.width + 1 - tile.x));
}

// Asks for the pixels that the tile below needs and this one does not. Hardware follows one row well, but not six at
// once.
template <class T>
SPINECORE_INLINE void prefetch_below(const Image<const T>& image, const Tile& tile) {
  const int64_t bytes = tile.width * image.channels * static_cast<int64_t>(sizeof(T));
  const int64_t last = smaller(image.height, tile.y + 9);
  for (int64_t y = tile.y + 5; y < last; ++y) {
    const char* from = reinterpret_cast<const char*>(image.pixel(tile.n, y, tile.x));
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
  }
}

// Transforms tiles of a source one after the other; `zeros` holds six pixels, and what lies between them in a slice.
template <class Source>
class InputReader;

template <class T>
class InputReader<Image<const T>> {
 public:
  InputReader(const Image<const T>& image, const float* zeros)
      : image_(image), zeros_(reinterpret_cast<const T*>(zeros)) {}

  SPINECORE_INLINE void operator()(const Tile& tile, float* to, int64_t stride) {
    (*this)(tile, to, stride, image_.channels);
  }
  // `channels` are those of the image; as a constant also the step from pixel to pixel.
  template <class Channels>
  SPINECORE_INLINE void operator()(const Tile& tile, float* to, int64_t stride, Channels channels) {
    if constexpr (std::is_same_v<Channels, int64_t>) {
      read(tile, to, stride, channels, image_.step);
    } else {
      read(tile, to, stride, channels, channels);
    }
  }

 private:
  template <class Channels, class Step>
  SPINECORE_INLINE void read(const Tile& tile, float* to, int64_t stride, Channels channels, Step step) {
    if (image_.distant) prefetch_below(image_, tile);
    if (tile.n != sample_ || tile.y != y_) take_rows(tile);
    const int64_t before = (tile.x - 1) * step;
    const T* rows[6];
    const auto channel = [&rows, step](int64_t c, auto access) {
      return [&rows, step, c, access](int i, int j) { return access.get(rows[i] + j * step + c); };
    };
    if (has_whole_input(image_, tile)) {
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) rows[i] = rows_[i] + before;
      return transform_input_tile<true>(channel, 0, 6, channels, to, stride);
    }
    for (int i = 0; i < 6; ++i) rows[i] = rows_[i] == nullptr ? zeros_ : rows_[i] + before;
    transform_input_tile<false>(channel, tile.x > 0 ? 0 : 1, end_of_input(image_, tile), channels, to, stride);
  }

  void take_rows(const Tile& tile) {
    sample_ = tile.n;
    y_ = tile.y;
    for (int64_t i = 0; i < 6; ++i) {
      const int64_t y = tile.y - 1 + i;
      rows_[i] = y < 0 || y >= image_.height ? nullptr : image_.pixel(tile.n, y, 0);
    }
  }

  Image<const T> image_;
  const T* zeros_;
  const T* rows_[6] = {};  // of the last tile; finding them costs as much as a sixth of its transform
  int64_t sample_ = -1, y_ = -1;
};

template <class Map>
class InputReader<Mapped<Map>> {
 public:
  InputReader(const Mapped<Map>& image, const float* /*zeros*/) : image_(image) {}

  SPINECORE_INLINE void operator()(const Tile& tile, float* to, int64_t stride) const {
    (*this)(tile, to, stride, image_.channels);
  }
  template <class Channels>
  SPINECORE_INLINE void operator()(const Tile& tile, float* to, int64_t stride, Channels channels) const {
    const auto& image = image_;
    const int64_t next_row = image.width * channels;
    const int64_t first = ((tile.n * image.height + tile.y - 1) * image.width + tile.x - 1) * channels;
    if (has_whole_input(image, tile)) {
      const auto channel = [&](int64_t c, auto access) {
        return [=, at = image.map.channel(c, access)](int i, int j) {
          return at(first + i * next_row + j * channels + c);
        };
      };
      return transform_input_tile<true>(channel, 0, 6, channels, to, stride);
    }
    const int64_t top = tile.y > 0 ? 0 : 1, bottom = smaller(6, image.height + 1 - tile.y);
    const auto channel = [&](int64_t c, auto access) {
      return [=, at = image.map.channel(c, access)](int i, int j) {
        return i >= top && i < bottom ? at(first + i * next_row + j * channels + c) : Vec{};
      };
    };
    transform_input_tile<false>(channel, tile.x > 0 ? 0 : 1, end_of_input(image, tile), channels, to, stride);
  }

 private:
  const Mapped<Map>& image_;
};

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
