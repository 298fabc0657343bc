// Recurrent residual convolution: the kernels, compiled once per instruction set. Equations and arguments:
// spinecore/recurrent_residual_conv.h.
//
// As a wavefront: all convolutions advance together, each one row of tiles behind the one before, so that what lies
// between them never leaves the second and third cache level. Threads take bands of rows and compute the few rows
// around their band again; they never wait for one another. Where the weights alone fill the caches, or the image is so
// small that a row of tiles cannot fill the registers: one convolution after the other, over tiles of all rows and
// samples.
#include "spinecore/recurrent_residual_conv.h"

#include <type_traits>

#include "spinecore/parallel.h"
#include "spinecore/scratch.h"
#include "winograd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// What the convolutions read and write besides their own results.
template <class T>
struct Stages {
  const RecurrentForward& a;
  Image<const T> x;
  Image<T> y;
  Image<float> d;  // with weights of their own for the recurrence
  bool streamed;   // y is written past the caches
  bool shared;     // conv(x, w) + conv(u, w) = conv(x + u, w): x + u is kept instead of u, and d is not needed

  // The epilogue of the convolution number `step`, which writes u_step (or x + u_step) to `u`, or y if it is the last.
  // Images are copied: stores might change what lies behind a reference, and it would be read again for every pixel.
  template <class Channels, class Access>
  SPINECORE_INLINE void finish(Channels channels, int64_t step, const Image<float>& u, const Tile& tile, int64_t c,
                               Access access, Vec (&results)[4][4], Vec* poison) const {
    const Vec scale = access.get(a.scale + step * a.next_step + c);
    const Vec shift = access.get(a.shift + step * a.next_step + c);
    const T* from = x.pixel(tile.n, tile.y, tile.x) + c;
    if (!shared && step < a.steps && step == 0) {
      float* before = d.pixel(tile.n, tile.y, tile.x) + c;
      each_pixel(tile, access, [&](int i, int j) { access.put(before + d.offset(i, j, channels), results[i][j]); });
    }
    if (!shared && step > 0) {
      const float* before = d.pixel(tile.n, tile.y, tile.x) + c;
      each_pixel(tile, access, [&](int i, int j) { results[i][j] += access.get(before + d.offset(i, j, channels)); });
    }
    if (step < a.steps) {
      const auto write = [&, in = x, to = u](auto adds_x) {
        float* next = to.pixel(tile.n, tile.y, tile.x) + c;
        each_pixel(tile, access, [&](int i, int j) {
          Vec value = relu(scale * results[i][j] + shift);
          if constexpr (adds_x) value += access.get(from + in.offset(i, j, channels));
          access.put(next + to.offset(i, j, channels), value);
        });
      };
      return shared ? write(std::true_type{}) : write(std::false_type{});
    }
    const auto write = [&, in = x, out = y](auto adds_x, auto stores) {
      T* to = out.pixel(tile.n, tile.y, tile.x) + c;
      Vec total{};
      each_pixel(tile, access, [&](int i, int j) {
        Vec value = relu(scale * results[i][j] + shift);
        if constexpr (adds_x) value += access.get(from + in.offset(i, j, channels));
        total += not_finite(value);
        stores.put(to + out.offset(i, j, channels), value);
      });
      *poison += total;
    };
    const auto with_x = [&](auto stores) {
      a.residual ? write(std::true_type{}, stores) : write(std::false_type{}, stores);
    };
    if constexpr (std::is_same_v<Access, Whole>) {
      if (streamed) return with_x(Streamed{});
    }
    with_x(access);
  }

  // Convolves `count` tiles from the `first`: x, or what the step before left in `before`.
  void run(int64_t step, const Image<float>& before, const Image<float>& u, const TileGrid& grid, int64_t first,
           int64_t count, const Block& block, Vec* poison) const {
    with_known_width<16, 32, 64>(a.channels, [&](auto channels) {
      const auto epilogue = [&](const Tile& tile, int64_t c, auto access, Vec(&results)[4][4]) {
        finish(channels, step, u, tile, c, access, results, poison);
      };
      if (step == 0) return convolve_tiles(channels, channels, a.w_in, x, grid, first, count, block, epilogue);
      convolve_tiles(channels, channels, a.w_rec, Image<const float>(before), grid, first, count, block, epilogue);
    });
  }
};

constexpr int64_t front_tiles = 24;
constexpr int64_t distant_bytes = 12 << 20;  // where x and y together are larger, the caches lose them anyway

template <class T>
Stages<T> stages(const RecurrentForward& a, const Image<float>& d) {
  const bool distant = 2 * a.n * a.height * a.width * a.channels * static_cast<int64_t>(sizeof(T)) > distant_bytes;
  return {a,
          Image<const T>::whole(static_cast<const T*>(a.x), a.height, a.width, a.channels, distant),
          Image<T>::whole(static_cast<T*>(a.y), a.height, a.width, a.channels),
          d,
          distant && vectors_aligned(static_cast<const T*>(a.y), a.channels) && tiles_fill_lines<T>(a.channels),
          a.w_in.data == a.w_rec.data};
}

// Calls body(block, memory after it, poison) with memory of this thread.
template <class Body>
void with_memory(const RecurrentForward& a, int64_t more, const Body& body) {
  const int64_t of_block = round_up(Block::floats(a.channels, a.channels), 16);
  float* memory = thread_scratch(of_block + more);
  if (memory == nullptr) {
    __atomic_store_n(a.not_finite, 1, __ATOMIC_RELAXED);  // somebody else has to compute this
    return;
  }
  Vec poison{};
  body(Block(a.channels, a.channels, memory), memory + of_block, &poison);
  end_stream();
  raise_unless_zero(poison, a.not_finite);
}

struct Span {
  int64_t begin, end;

  Span grown(int64_t by, int64_t most) const { return {larger(begin - by, 0), smaller(end + by, most)}; }
};

// Rows of tiles that advance together: a narrow image needs several to fill the registers of the products, and where
// there are many weights, a block of tiles.
SPINECORE_INLINE int64_t rows_of_front(int64_t across, int64_t channels) {
  const int64_t wanted = channels <= 64 ? front_tiles : larger(front_tiles, Block::tiles_for(channels));
  return (wanted + across - 1) / across;
}

// Some rows of tiles of sample n.
template <class T>
void band(const RecurrentForward& a, int64_t n, Span down) {
  const TileGrid grid(a.height, a.width);
  // Two pixels more than needed: rows a power of two apart would all fall into the same cache sets.
  const int64_t columns = a.width + 2, row = columns * a.channels, front_rows = rows_of_front(grid.across, a.channels);
  // A front reads what the step before has left of its own rows, of one row before and of the front after.
  const int64_t u_rows = 4 * (2 * front_rows + 1);
  const int64_t d_rows = a.w_in.data == a.w_rec.data ? 4 : 4 * front_rows * (a.steps + 1);
  with_memory(a, (d_rows + a.steps * u_rows) * row, [&](const Block& block, float* memory, Vec* poison) {
    const auto ring = [&](int64_t rows, int64_t first_row) {
      return Image<float>::ring(memory + first_row * row, rows, columns, a.height, a.width, a.channels);
    };
    const auto u = [&](int64_t step) { return ring(u_rows, d_rows + step * u_rows); };
    const auto part = stages<T>(a, ring(d_rows, 0));
    const int64_t first = larger(down.begin - a.steps, 0), end = down.end + a.steps * front_rows;
    for (int64_t front = first; front < end; front += front_rows) {
      for (int64_t step = 0; step <= a.steps; ++step) {
        const Span rows = down.grown(a.steps - step, grid.down);
        const int64_t from = larger(front - step * front_rows, rows.begin);
        const int64_t count = smaller(front - (step - 1) * front_rows, rows.end) - from;
        if (count <= 0) continue;
        part.run(step, u(step - 1), u(step), grid, (n * grid.down + from) * grid.across, count * grid.across, block,
                 poison);
      }
    }
  });
}

template <class T>
bool wavefront(const RecurrentForward& a) {
  const int64_t down = TileGrid(a.height, a.width).down;
  return parallel_for(0, a.n * down, recurrent_band_tiles(a.steps), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end;) {
      const int64_t n = row / down, stop = smaller(end, (n + 1) * down);
      band<T>(a, n, {row - n * down, stop - n * down});
      row = stop;
    }
  });
}

template <class T>
bool layer_by_layer(const RecurrentForward& a) {
  const TileGrid grid(a.height, a.width);
  const int64_t size = a.n * a.height * a.width * a.channels;
  const auto image = [&](int64_t index) {
    return Image<float>::whole(a.workspace + index * size, a.height, a.width, a.channels);
  };
  const auto part = stages<T>(a, image(0));
  const int64_t grain = 1 + (int64_t{1} << 18) / (positions * (1 + a.channels * a.channels));
  bool done = true;
  for (int64_t step = 0; step <= a.steps; ++step) {
    done &= parallel_for(0, a.n * grid.down * grid.across, grain, [&](int64_t begin, int64_t end) {
      with_memory(a, 0, [&](const Block& block, float*, Vec* poison) {
        part.run(step, image(2 - step % 2), image(1 + step % 2), grid, begin, end - begin, block, poison);
      });
    });
  }
  return done;
}

template <class T>
bool run(const RecurrentForward& a) {
  return a.workspace == nullptr ? wavefront<T>(a) : layer_by_layer<T>(a);
}

bool forward(const RecurrentForward& a) { return a.dtype == DType::bfloat16 ? run<BFloat16>(a) : run<float>(a); }

}  // namespace

extern const RecurrentKernels recurrent_residual_conv_kernels;
const RecurrentKernels recurrent_residual_conv_kernels{forward};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
