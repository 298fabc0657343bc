// Runs the 3x3 convolution and the recurrent residual convolution without Python, for the sanitizers: every shape is
// compared with a plain loop.
#include <algorithm>

#include "driver.h"
#include "spinecore/conv3x3.h"
#include "spinecore/recurrent_residual_conv.h"

namespace spinecore::driver {
namespace {

using Image = std::vector<double>;  // N, H, W, C

Image convolve(const Image& x, const Buffer& w, int64_t n, int64_t h, int64_t width, int64_t in, int64_t out) {
  Image y(static_cast<size_t>(n * h * width * out));
  for (int64_t i = 0; i < n * h * width; ++i) {
    const int64_t column = i % width, row = i / width % h, sample = i / width / h;
    for (int64_t o = 0; o < out; ++o) {
      double total = 0;
      for (int64_t tap = 0; tap < 9; ++tap) {
        const int64_t yy = row + tap / 3 - 1, xx = column + tap % 3 - 1;
        if (yy < 0 || xx < 0 || yy >= h || xx >= width) continue;
        for (int64_t c = 0; c < in; ++c) {
          total += x[static_cast<size_t>(((sample * h + yy) * width + xx) * in + c)] * w.get((o * in + c) * 9 + tap);
        }
      }
      y[static_cast<size_t>(i * out + o)] = total;
    }
  }
  return y;
}

Image values(const Buffer& buffer) {
  Image all(static_cast<size_t>(buffer.view.numel()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = buffer.get(static_cast<int64_t>(i));
  return all;
}

void compare(const Buffer& y, const Image& want, DType dtype, const std::string& name) {
  const double relative = dtype == DType::bfloat16 ? 2e-2 : 2e-5;
  for (size_t i = 0; i < want.size(); ++i) {
    require(std::fabs(y.get(static_cast<int64_t>(i)) - want[i]) <= relative * (1 + std::fabs(want[i])), name);
  }
}

// Results of the size of what goes in.
void shrink(Buffer& weights, int64_t in) {
  for (int64_t i = 0; i < weights.view.numel(); ++i) {
    weights.set(i, weights.get(i) / static_cast<float>(3 * std::sqrt(in)));
  }
}

Buffer transformed(const Buffer& w, bool transposed, int64_t in, int64_t out) {
  Buffer to("weights", {winograd_weights_size(in, out)});
  to.poison();
  const Status status = winograd_transform(w.view, transposed, to.view);
  require(status.ok(), status.message);
  return to;
}

void run_conv(int64_t n, int64_t in, int64_t out, int64_t h, int64_t w, DType dtype) {
  const std::string name = "conv3x3 n=" + std::to_string(n) + " " + std::to_string(in) + "->" + std::to_string(out) +
                           " h=" + std::to_string(h) + " w=" + std::to_string(w) + " " + isa_name(selected_isa());
  Buffer x("x", {n, in, h, w}, dtype, true), y("y", {n, out, h, w}, dtype, true);
  Buffer residual("residual", {n, out, h, w}, dtype, true), weights("w", {out, in, 3, 3}), bias("bias", {out});
  for (Buffer* b : {&x, &residual, &weights, &bias}) b->randomise();
  shrink(weights, in);
  y.poison();
  const Buffer u = transformed(weights, false, in, out);
  bool finite = false;
  const Status status = conv3x3_forward({x.view, u.view, bias.view, residual.view, y.view}, true, &finite);
  require(status.ok(), name + ": " + status.message);
  require(finite, name + ": not finite");
  Image want = convolve(values(x), weights, n, h, w, in, out);
  for (size_t i = 0; i < want.size(); ++i) {
    want[i] = std::max(want[i] + bias.get(static_cast<int64_t>(i) % out) + residual.get(static_cast<int64_t>(i)), 0.);
  }
  compare(y, want, dtype, name);
}

void run_recurrent(int64_t n, int64_t c, int64_t h, int64_t w, int64_t steps, bool shared, bool together, DType dtype) {
  const std::string name = "recurrent n=" + std::to_string(n) + " c=" + std::to_string(c) + " h=" + std::to_string(h) +
                           " w=" + std::to_string(w) + " steps=" + std::to_string(steps) +
                           (together ? " together " : " ") + isa_name(selected_isa());
  Buffer x("x", {n, c, h, w}, dtype, true), y("y", {n, c, h, w}, dtype, true);
  Buffer w_in("w_in", {c, c, 3, 3}), w_rec("w_rec", {c, c, 3, 3}), shift("shift", {steps + 1, c});
  Buffer scales("scale", {steps + 1, c});
  for (Buffer* b : {&x, &w_in, &w_rec, &scales, &shift}) b->randomise();
  shrink(w_in, c);
  shrink(w_rec, c);
  y.poison();
  const int64_t whole_images = recurrent_forward_workspace(n, c, h, w, steps, 1);  // of images as small as these
  require(whole_images > 0, name + ": no images to work in");
  Buffer workspace("workspace", {together ? 0 : whole_images});
  workspace.poison();
  const Buffer first = transformed(w_in, false, c, c), second = transformed(w_rec, false, c, c);
  bool finite = false;
  const Status status = recurrent_residual_conv_forward(
      {x.view, first.view, shared ? first.view : second.view, scales.view, shift.view, y.view, workspace.view}, steps,
      true, &finite);
  require(status.ok(), name + ": " + status.message);
  require(finite, name + ": not finite");
  const Image before = values(x), d = convolve(before, w_in, n, h, w, c, c);
  Image u;
  for (int64_t step = 0; step <= steps; ++step) {
    Image z = d;
    if (step > 0) {
      const Image more = convolve(u, shared ? w_in : w_rec, n, h, w, c, c);
      for (size_t i = 0; i < z.size(); ++i) z[i] += more[i];
    }
    for (size_t i = 0; i < z.size(); ++i) {
      const int64_t at = step * c + static_cast<int64_t>(i) % c;
      z[i] = std::max(scales.get(at) * z[i] + shift.get(at), 0.);
    }
    u = z;
  }
  for (size_t i = 0; i < u.size(); ++i) u[i] += before[i];
  compare(y, u, dtype, name);
}

int run_all(bool only_large) {
  int runs = 0;
  for (DType dtype : {DType::float32, DType::bfloat16}) {
    const int64_t convolutions[][5] = {{1, 1, 1, 1, 1},  {2, 3, 5, 4, 7},    {1, 17, 33, 6, 9},
                                       {3, 16, 2, 5, 4}, {1, 20, 70, 13, 3}, {2, 48, 31, 21, 22}};
    for (const auto& s : convolutions) {
      if (only_large && s[0] * s[1] * s[2] * s[3] * s[4] < 500000) continue;
      run_conv(s[0], s[1], s[2], s[3], s[4], dtype);
      ++runs;
    }
    const int64_t recurrences[][5] = {{1, 1, 1, 1, 2},    {2, 5, 9, 6, 1},  {1, 7, 61, 65, 2},
                                      {1, 17, 41, 66, 3}, {2, 3, 7, 64, 0}, {1, 3, 129, 9, 2}};
    for (const auto& s : recurrences) {
      if (only_large && s[2] * s[3] < 2000) continue;
      for (bool shared : {false, true}) {
        for (bool together : {false, true}) {
          run_recurrent(s[0], s[1], s[2], s[3], s[4], shared, together, dtype);
          ++runs;
        }
      }
    }
  }
  return runs;
}

const Register registered(run_all);

}  // namespace
}  // namespace spinecore::driver
