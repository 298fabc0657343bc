// Runs the 1x1 convolution with batch normalisation and its backward without Python, for the sanitizers: results are
// compared with plain loops, gradients by what is true of them: batch normalisation passes on gradients without a mean.
#include <algorithm>

#include "driver.h"
#include "spinecore/conv1x1_bn.h"

namespace spinecore::driver {
namespace {

void run(int64_t pixels, int64_t in, int64_t out, bool relu, bool wants_dx, DType dtype) {
  const std::string name = "conv1x1_bn pixels=" + std::to_string(pixels) + " " + std::to_string(in) + "->" +
                           std::to_string(out) + " " + isa_name(selected_isa());
  Buffer x("x", {1, in, 1, pixels}, dtype, true), dx("dx", {wants_dx ? 1 : 0, in, 1, pixels}, dtype, true);
  Buffer z("z", {1, out, 1, pixels}, dtype, true), y("y", {1, out, 1, pixels}, dtype, true);
  Buffer dy("dy", {1, out, 1, pixels}, dtype, true), w("w", {out, in}), dw("dw", {out, in});
  Buffer gamma("gamma", {out}), beta("beta", {out}), mean("mean", {out}), variance("variance", {out});
  Buffer inverse("inverse", {out}), d_gamma("d_gamma", {out}), d_beta("d_beta", {out});
  for (Buffer* b : {&x, &dy, &w, &gamma, &beta}) b->randomise();
  for (Buffer* b : {&dx, &z, &y, &dw, &mean, &variance, &inverse, &d_gamma, &d_beta}) b->poison();
  Buffer workspace("workspace", {conv1x1_bn_workspace(pixels, in, out)});
  workspace.poison();
  Status status = conv1x1_bn_forward(
      {x.view, w.view, gamma.view, beta.view, z.view, y.view, mean.view, variance.view, inverse.view, workspace.view},
      1e-5, relu);
  require(status.ok(), name + ": " + status.message);
  workspace.poison();
  status = conv1x1_bn_backward({x.view, dy.view, w.view, gamma.view, beta.view, z.view, mean.view, inverse.view,
                                dx.view, dw.view, d_gamma.view, d_beta.view, workspace.view},
                               relu);
  require(status.ok(), name + ": " + status.message);
  const double rounding = dtype == DType::bfloat16 ? 3e-2 : 1e-4;
  const auto close = [&](double got, double want, double size, const char* what) {
    require(std::fabs(got - want) <= rounding * (1 + size),
            name + " " + what + ": " + std::to_string(want) + " wanted, got " + std::to_string(got));
  };
  for (int64_t o = 0; o < out; ++o) {
    double total = 0, squares = 0, passed = 0;
    for (int64_t p = 0; p < pixels; ++p) {
      double value = 0;
      for (int64_t i = 0; i < in; ++i) value += static_cast<double>(w.get(o * in + i)) * x.get(p * in + i);
      close(z.get(p * out + o), value, std::sqrt(static_cast<double>(in)) + std::fabs(value), "z");
      total += z.get(p * out + o);
    }
    const double average = total / static_cast<double>(pixels);
    for (int64_t p = 0; p < pixels; ++p) squares += std::pow(z.get(p * out + o) - average, 2);
    close(mean.get(o), average, std::fabs(average), "mean");
    close(variance.get(o), squares / static_cast<double>(pixels), variance.get(o), "variance");
    for (int64_t p = 0; p < pixels; ++p) {
      const double normal = (z.get(p * out + o) - average) * inverse.get(o);
      double want = gamma.get(o) * normal + beta.get(o);
      if (relu) want = std::max(want, 0.);
      close(y.get(p * out + o), want, std::fabs(want) + std::fabs(normal), "y");
      if (!relu || y.get(p * out + o) > 0) passed += dy.get(p * out + o);
    }
    close(d_beta.get(o), passed, std::sqrt(static_cast<double>(pixels)), "d_beta");
  }
  // <dx, x> is <dz, z> is <dw, w>, and is zero but for eps: the result does not depend on the scale of z.
  if (!wants_dx) return;
  double by_x = 0, by_w = 0, size = 0;
  for (int64_t i = 0; i < x.view.numel(); ++i) by_x += static_cast<double>(dx.get(i)) * x.get(i);
  for (int64_t i = 0; i < w.view.numel(); ++i) by_w += static_cast<double>(dw.get(i)) * w.get(i);
  for (int64_t i = 0; i < x.view.numel(); ++i) size += std::pow(static_cast<double>(dx.get(i)), 2);
  close(by_x, by_w, std::sqrt(size * static_cast<double>(x.view.numel())) + 10, "dx or dw");
}

int run_all(bool only_large) {
  int runs = 0;
  const int64_t shapes[][3] = {{2, 1, 1}, {7, 3, 5}, {49, 17, 33}, {97, 70, 2}, {193, 16, 31}, {3001, 24, 40}};
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
