// Convolution for inference: the kernels, compiled once per instruction set. Equations and arguments:
// spinecore/fused_conv.h.
//
// A block of pixels times the weights is a sum of small products, one an input (1x1) or one a tap. Kernels larger than
// 1x1 read rows that were copied once between zeros, so that no tap has to look where the image ends.
#include "spinecore/fused_conv.h"

#include <type_traits>

#include "fused_products.h"
#include "spinecore/parallel.h"
#include "spinecore/scratch.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// ---- 1x1: pixels of all rows and samples in one line ---------------------------------------------------------------
bool pointwise(const FusedConv& a) {
  const int64_t grain = 1 + (int64_t{1} << 17) / (1 + a.in * a.out);
  return parallel_for(0, a.n * a.out_height * a.out_width, grain, [&](int64_t begin, int64_t end) {
    Block block;
    block.term_count = a.input_count;
    for (block.first = begin; block.first < end; block.first += block_pixels) {
      block.pixels = smaller(block_pixels, end - block.first);
      for (int64_t i = 0; i < a.input_count; ++i) {
        const Pixels& input = a.inputs[i];
        block.terms[i] = {input.data + block.first * input.pixel, input.pixel, input.channels};
      }
      for (int64_t done = 0; a.addend_count > 0 && done < block.pixels;) {
        const int64_t row = (block.first + done) / a.out_width, x = (block.first + done) % a.out_width;
        const int64_t count = smaller(block.pixels - done, a.out_width - x);
        find_corners(a, row / a.out_height, row % a.out_height, x, count, block.corners + done);
        done += count;
      }
      compute(a, block, a.in);
    }
  });
}

// ---- k x k ---------------------------------------------------------------------------------------------------------
struct Window {
  int64_t pad, reach, columns, row;  // reach: rows of the input that one row of y needs; row: floats of a padded one

  explicit Window(const FusedConv& a)
      : pad(a.dilation * (a.kernel / 2)),
        reach(a.dilation * (a.kernel - 1) + 1),
        columns(a.inputs[0].width + 2 * pad),
        row(columns * a.in) {}
  int64_t rows_for(int64_t out_rows, int64_t stride) const { return (out_rows - 1) * stride + reach; }
  // Of the pixels whose window begins at `corner`. Without dilation the taps of a row follow one another in memory.
  int64_t terms(const FusedConv& a, const float* corner, Term* to) const {
    const int64_t step = a.stride * a.in, across = a.dilation == 1 ? 1 : a.kernel;
    for (int64_t i = 0; i < a.kernel; ++i) {
      for (int64_t j = 0; j < across; ++j) {
        *to++ = {corner + i * a.dilation * row + j * a.dilation * a.in, step, a.kernel / across * a.in};
      }
    }
    return a.kernel * across;
  }
};

// One padded row of the concatenated inputs.
void copy_row(const FusedConv& a, const Window& window, int64_t n, int64_t y, float* to) {
  const int64_t height = a.inputs[0].height, width = a.inputs[0].width;
  if (y < 0 || y >= height) return fill_zero(to, window.row);
  fill_zero(to, window.pad * a.in);
  fill_zero(to + (window.pad + width) * a.in, window.pad * a.in);
  to += window.pad * a.in;
  for (int64_t i = 0; i < a.input_count; ++i) {
    const Pixels& input = a.inputs[i];
    const float* from = input.data + (n * height + y) * width * input.pixel;
    const auto few = [&](auto channels) {
      for (int64_t x = 0; x < width; ++x) {
        for (int64_t c = 0; c < channels; ++c) to[x * a.in + c] = from[x * input.pixel + c];
      }
    };
    if (input.channels == a.in && input.pixel == a.in) {
      each_vector(width * a.in, [&](int64_t c, auto access) { access.put(to + c, access.get(from + c)); });
    } else if (input.channels == 1) {
      few(std::integral_constant<int64_t, 1>{});
    } else if (input.channels == 2) {
      few(std::integral_constant<int64_t, 2>{});
    } else if (input.channels == 3) {
      few(std::integral_constant<int64_t, 3>{});
    } else {
      for (int64_t x = 0; x < width; ++x) {
        each_vector(input.channels, [&](int64_t c, auto access) {
          access.put(to + x * a.in + c, access.get(from + x * input.pixel + c));
        });
      }
    }
    to += input.channels;
  }
}

bool windowed(const FusedConv& a) {
  const Window window(a);
  const int64_t depth = a.kernel * a.kernel * a.in;
  // As many rows of y at a time as keep the copies in the second level.
  int64_t band = 1;
  while (band < a.out_height && window.rows_for(band + 1, a.stride) * window.row <= (int64_t{1} << 15)) ++band;
  const int64_t grain = 1 + (int64_t{1} << 17) / (1 + a.out_width * depth * a.out);
  return parallel_for(0, a.n * a.out_height, grain, [&](int64_t begin, int64_t end) {
    float* copies = thread_scratch(window.rows_for(band, a.stride) * window.row);
    if (copies == nullptr) return __atomic_store_n(a.no_memory, 1, __ATOMIC_RELAXED);
    Block block;
    for (int64_t at = begin; at < end;) {
      const int64_t n = at / a.out_height, y0 = at % a.out_height;
      const int64_t rows = smaller(smaller(band, end - at), a.out_height - y0);
      const int64_t copied = window.rows_for(rows, a.stride), top = y0 * a.stride - window.pad;
      for (int64_t i = 0; i < copied; ++i) copy_row(a, window, n, top + i, copies + i * window.row);
      for (int64_t y = 0; y < rows; ++y) {
        for (int64_t x = 0; x < a.out_width; x += block_pixels) {
          block.pixels = smaller(block_pixels, a.out_width - x);
          block.first = (at + y) * a.out_width + x;
          block.term_count = window.terms(a, copies + y * a.stride * window.row + x * a.stride * a.in, block.terms);
          if (a.addend_count > 0) find_corners(a, n, y0 + y, x, block.pixels, block.corners);
          compute(a, block, depth);
        }
      }
      at += rows;
    }
  });
}

bool run(const FusedConv& a) { return a.kernel == 1 && a.stride == 1 ? pointwise(a) : windowed(a); }

}  // namespace

extern const FusedConvKernels fused_conv_kernels;
const FusedConvKernels fused_conv_kernels{lanes, pack_panels, run};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
