// Runs the 1x1 convolution and its backward without Python, for the sanitizers: every shape is compared with a plain
// loop.
#include "driver.h"
#include "spinecore/conv1x1.h"

namespace spinecore::driver {
namespace {

void compare(const Buffer& got, int64_t at, double want, double relative, double size, const std::string& name) {
  require(std::fabs(got.get(at) - want) <= relative * size,
          name + ": " + std::to_string(want) + " wanted, got " + std::to_string(got.get(at)));
}

void run(int64_t pixels, int64_t in, int64_t out, bool biased, bool wants_dx, DType dtype) {
  const std::string name = "conv1x1 pixels=" + std::to_string(pixels) + " " + std::to_string(in) + "->" +
                           std::to_string(out) + " " + isa_name(selected_isa());
  Buffer x("x", {1, in, 1, pixels}, dtype, true), y("y", {1, out, 1, pixels}, dtype, true);
  Buffer dy("dy", {1, out, 1, pixels}, dtype, true), dx("dx", {wants_dx ? 1 : 0, in, 1, pixels}, dtype, true);
  Buffer w("w", {out, in}), dw("dw", {out, in}), bias("bias", {biased ? out : 0}), d_bias("d_bias", {out});
  for (Buffer* b : {&x, &dy, &w, &bias}) b->randomise();
  for (Buffer* b : {&y, &dx, &dw, &d_bias}) b->poison();
  Buffer workspace("workspace", {conv1x1_workspace(in, out)});
  Buffer backward_workspace("workspace", {conv1x1_backward_workspace(pixels, in, out)});
  workspace.poison();
  backward_workspace.poison();
  Status status = conv1x1_forward({x.view, w.view, bias.view, y.view, workspace.view});
  require(status.ok(), name + ": " + status.message);
  status = conv1x1_backward({x.view, dy.view, w.view, dx.view, dw.view, d_bias.view, backward_workspace.view});
  require(status.ok(), name + ": " + status.message);
  const double rounding = dtype == DType::bfloat16 ? 2e-2 : 1e-5, exact = 1e-5;
  const auto times = [](float a, float b) { return static_cast<double>(a) * static_cast<double>(b); };
  const auto size = [](int64_t terms) { return 4 + std::sqrt(static_cast<double>(terms)); };
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t o = 0; o < out; ++o) {
      double want = biased ? bias.get(o) : 0;
      for (int64_t i = 0; i < in; ++i) want += times(w.get(o * in + i), x.get(p * in + i));
      compare(y, p * out + o, want, rounding, size(in), name + " y");
    }
    for (int64_t i = 0; wants_dx && i < in; ++i) {
      double want = 0;
      for (int64_t o = 0; o < out; ++o) want += times(w.get(o * in + i), dy.get(p * out + o));
      compare(dx, p * in + i, want, rounding, size(out), name + " dx");
    }
  }
  for (int64_t o = 0; o < out; ++o) {
    double total = 0;
    for (int64_t p = 0; p < pixels; ++p) total += dy.get(p * out + o);
    compare(d_bias, o, total, exact, size(pixels), name + " d_bias");
    for (int64_t i = 0; i < in; ++i) {
      double want = 0;
      for (int64_t p = 0; p < pixels; ++p) want += times(dy.get(p * out + o), x.get(p * in + i));
      compare(dw, o * in + i, want, exact, size(pixels), name + " dw");
    }
  }
}

int run_all(bool only_large) {
  int runs = 0;
  const int64_t shapes[][3] = {{1, 1, 1}, {7, 3, 5}, {49, 17, 33}, {97, 70, 2}, {193, 16, 31}, {3001, 24, 40}};
  for (DType dtype : {DType::float32, DType::bfloat16}) {
    for (const auto& s : shapes) {
      if (only_large && s[0] < 3000) continue;
      run(s[0], s[1], s[2], true, true, dtype);
      run(s[0], s[1], s[2], false, false, dtype);
      runs += 2;
    }
  }
  return runs;
}

const Register registered(run_all);

}  // namespace
}  // namespace spinecore::driver
