// Runs the convolution and the pooling for inference without Python, for the sanitizers: every result is compared with
// a plain loop.
#include <algorithm>

#include "driver.h"
#include "spinecore/fused_conv.h"
#include "spinecore/pool2x2.h"

namespace spinecore::driver {
namespace {

constexpr int64_t n = 2;

void compare(const Buffer& got, int64_t at, double want, const std::string& name) {
  require(std::fabs(got.get(at) - want) <= 1e-4 * (1 + std::fabs(want)),
          name + ": " + std::to_string(want) + " wanted, got " + std::to_string(got.get(at)));
}

struct Shape {
  int64_t height, width, in, out, kernel, stride, dilation;
};

// Two inputs, the second one a slice of the channels of its image; an addend of the size of y.
void convolve(const Shape& s, FusedActivation activation) {
  const std::string name = "fused_conv " + std::to_string(s.height) + "x" + std::to_string(s.width) + " " +
                           std::to_string(2 * s.in) + "->" + std::to_string(s.out) + " k" + std::to_string(s.kernel) +
                           " " + isa_name(selected_isa());
  const int64_t height = (s.height - 1) / s.stride + 1, width = (s.width - 1) / s.stride + 1;
  const int64_t depth = s.kernel * s.kernel * 2 * s.in, whole = s.in + 3;
  Buffer first("inputs", {n, s.in, s.height, s.width}, DType::float32, true);
  Buffer image("inputs", {n, whole, s.height, s.width}, DType::float32, true);
  Buffer w("w", {s.out, depth}), packed("weights", {fused_conv_weights_size(depth, s.out)}), bias("bias", {s.out});
  Buffer addend("addends", {n, s.out, height, width}, DType::float32, true);
  Buffer gate("gate", {n, s.out, height, width}, DType::float32, true);
  Buffer y("y", {n, s.out, height, width}, DType::float32, true);
  for (Buffer* b : {&first, &image, &w, &bias, &addend, &gate}) b->randomise();
  for (Buffer* b : {&packed, &y}) b->poison();
  TensorView slice = image.view;
  slice.data = image.view.floats() + 3;
  slice.shape[1] = s.in;
  Status status = fused_conv_pack(w.view, packed.view);
  require(status.ok(), name + ": " + status.message);
  const bool gated = activation == FusedActivation::gate;
  const Buffer nothing("gate", {0});
  status = fused_conv_forward(
      {{first.view, slice}, {addend.view}, packed.view, bias.view, gated ? gate.view : nothing.view, y.view}, s.kernel,
      s.stride, s.dilation, static_cast<int64_t>(activation));
  require(status.ok(), name + ": " + status.message);
  const int64_t pad = s.dilation * (s.kernel / 2);
  for (int64_t at = 0; at < n * height * width; ++at) {
    const int64_t sample = at / (height * width), row = at / width % height, column = at % width;
    for (int64_t o = 0; o < s.out; ++o) {
      double want = static_cast<double>(bias.get(o)) + static_cast<double>(addend.get(at * s.out + o));
      for (int64_t k = 0; k < s.kernel * s.kernel; ++k) {
        const int64_t from_row = row * s.stride - pad + k / s.kernel * s.dilation;
        const int64_t from_column = column * s.stride - pad + k % s.kernel * s.dilation;
        if (from_row < 0 || from_row >= s.height || from_column < 0 || from_column >= s.width) continue;
        const int64_t pixel = (sample * s.height + from_row) * s.width + from_column;
        for (int64_t i = 0; i < 2 * s.in; ++i) {
          const float x = i < s.in ? first.get(pixel * s.in + i) : image.get(pixel * whole + 3 + i - s.in);
          want += static_cast<double>(x) * static_cast<double>(w.get(o * depth + k * 2 * s.in + i));
        }
      }
      if (activation == FusedActivation::relu) want = std::max(want, 0.);
      if (gated) want = static_cast<double>(gate.get(at * s.out + o)) / (1 + std::exp(-want));
      compare(y, at * s.out + o, want, name);
    }
  }
}

void pool(int64_t height, int64_t width, int64_t channels, Pooling pooling) {
  const std::string name = "pool2x2 " + std::to_string(height) + "x" + std::to_string(width) + " " +
                           std::to_string(channels) + " " + isa_name(selected_isa());
  Buffer x("x", {n, channels, height, width}, DType::float32, true);
  Buffer y("y", {n, channels, height / 2, width / 2}, DType::float32, true);
  x.randomise();
  y.poison();
  const Status status = pool2x2(x.view, static_cast<int64_t>(pooling), y.view);
  require(status.ok(), name + ": " + status.message);
  for (int64_t i = 0; i < y.view.numel(); ++i) {
    const int64_t c = i % channels, at = i / channels, column = at % (width / 2), row = at / (width / 2) % (height / 2);
    const int64_t corner = (at / (width / 2) / (height / 2) * height + 2 * row) * width + 2 * column;
    double most = -1e30, sum = 0;
    for (int64_t pixel : {corner, corner + 1, corner + width, corner + width + 1}) {
      const auto value = static_cast<double>(x.get(pixel * channels + c));
      most = std::max(most, value);
      sum += value;
    }
    compare(y, i, pooling == Pooling::largest ? most : sum / 4, name);
  }
}

int run_all(bool only_large) {
  int runs = 0;
  const Shape shapes[] = {{1, 1, 1, 1, 1, 1, 1},    {5, 7, 3, 5, 3, 2, 1},   {9, 6, 8, 17, 3, 1, 3},
                          {11, 13, 2, 16, 5, 2, 1}, {8, 9, 20, 33, 1, 1, 1}, {40, 61, 8, 24, 1, 1, 1}};
  for (const Shape& shape : shapes) {
    for (FusedActivation activation : {FusedActivation::none, FusedActivation::relu, FusedActivation::gate}) {
      if (only_large && shape.height < 40) continue;
      convolve(shape, activation);
      ++runs;
    }
  }
  for (Pooling pooling : {Pooling::largest, Pooling::mean}) {
    for (int64_t channels : {1, 7, 16, 37}) {
      if (!only_large) pool(3, 5, channels, pooling);
      pool(96, 40, channels, pooling);
      runs += only_large ? 1 : 2;
    }
  }
  return runs;
}

const Register registered(run_all);

}  // namespace
}  // namespace spinecore::driver
