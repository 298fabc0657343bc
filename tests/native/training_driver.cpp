// Runs the backward of the 3x3 convolution and the recurrence in training without Python, for the sanitizers. Gradients
// are checked by what is true of them: <dy, conv(x, w)> is <dx, x> and <dw, w>, and batch normalisation passes on
// gradients without a mean.
#include "driver.h"
#include "spinecore/conv3x3.h"
#include "spinecore/recurrent_residual_conv_bn.h"

namespace spinecore::driver {
namespace {

double product(const Buffer& a, const Buffer& b) {
  double total = 0;
  for (int64_t i = 0; i < a.view.numel(); ++i) total += static_cast<double>(a.get(i)) * static_cast<double>(b.get(i));
  return total;
}

Buffer transformed(const Buffer& w, bool transposed, int64_t in, int64_t out) {
  Buffer to("weights", {winograd_weights_size(in, out)});
  to.poison();
  const Status status = winograd_transform(w.view, transposed, to.view);
  require(status.ok(), status.message);
  return to;
}

void require_close(double a, double b, double scale, const std::string& name) {
  require(std::fabs(a - b) <= scale, name + ": " + std::to_string(a) + " is not " + std::to_string(b));
}

void run_conv(int64_t n, int64_t in, int64_t out, int64_t h, int64_t w, bool relu, DType dtype) {
  const std::string name = "conv3x3 backward n=" + std::to_string(n) + " " + std::to_string(in) + "->" +
                           std::to_string(out) + " h=" + std::to_string(h) + " w=" + std::to_string(w) + " " +
                           isa_name(selected_isa());
  Buffer x("x", {n, in, h, w}, dtype, true), y("y", {n, out, h, w}, dtype, true);
  Buffer dy("dy", {n, out, h, w}, dtype, true), dx("dx", {n, in, h, w}, dtype, true);
  Buffer d_residual("d_residual", {n, out, h, w}, dtype, true), nothing("none", {0}, dtype), no_bias("none", {0});
  Buffer weights("w", {out, in, 3, 3}), dw("dw", {out, in, 3, 3}), d_bias("d_bias", {out});
  for (Buffer* b : {&x, &dy, &weights}) b->randomise();
  for (Buffer* b : {&y, &dx, &d_residual, &dw, &d_bias}) b->poison();
  Buffer workspace("workspace", {conv3x3_backward_workspace(n, h, w, in, out)});
  workspace.poison();
  bool finite = false;
  const Buffer u = transformed(weights, false, in, out), back = transformed(weights, true, out, in);
  Status status = conv3x3_forward({x.view, u.view, no_bias.view, nothing.view, y.view}, relu, &finite);
  require(status.ok() && finite, name + ": forward " + status.message);
  status = conv3x3_backward({x.view, dy.view, relu ? y.view : nothing.view, back.view, dx.view, d_residual.view,
                             dw.view, d_bias.view, workspace.view},
                            &finite);
  require(status.ok() && finite, name + ": " + status.message);
  // Where the relu gates, y is zero: dy need not be gated here.
  const double wanted = product(dy, y);
  const double scale = (dtype == DType::bfloat16 ? 1e-2 : 1e-4) * std::sqrt(product(dy, dy) * product(y, y) + 1);
  require_close(product(dx, x), wanted, scale, name + " dx");
  require_close(product(dw, weights), wanted, scale, name + " dw");
  double total = 0, bias = 0;
  for (int64_t i = 0; i < dy.view.numel(); ++i) total += static_cast<double>(d_residual.get(i));
  for (int64_t i = 0; i < out; ++i) bias += static_cast<double>(d_bias.get(i));
  require_close(total, bias, 1e-3 * std::sqrt(product(dy, dy)), name + " d_bias");
}

void run_recurrence(int64_t n, int64_t c, int64_t h, int64_t w, int64_t steps, DType dtype) {
  const std::string name = "recurrence n=" + std::to_string(n) + " c=" + std::to_string(c) + " h=" + std::to_string(h) +
                           " w=" + std::to_string(w) + " steps=" + std::to_string(steps) + " " +
                           isa_name(selected_isa());
  const auto image = [&](const char* what) { return Buffer(what, {n, c, h, w}, dtype, true); };
  const auto rows = [&](const char* what) { return Buffer(what, {steps + 1, c}); };
  Buffer x = image("x"), y = image("y"), dy = image("dy"), dx = image("dx"), du = image("du"), dd = image("dd");
  Buffer w_in("w_in", {c, c, 3, 3}), w_rec("w_rec", {c, c, 3, 3}), dw_in("dw_in", {c, c, 3, 3}),
      dw_rec("dw_rec", {c, c, 3, 3});
  Buffer gamma = rows("gamma"), beta = rows("beta"), mean = rows("mean"), variance = rows("variance"),
         inverse = rows("inverse"), d_gamma = rows("d_gamma"), d_beta = rows("d_beta");
  for (Buffer* b : {&x, &dy, &w_in, &w_rec, &gamma, &beta}) b->randomise();
  for (Buffer* b : {&y, &dx, &du, &dd, &dw_in, &dw_rec, &mean, &variance, &inverse, &d_gamma, &d_beta}) b->poison();
  std::vector<Buffer> kept;
  std::vector<TensorView> z;
  for (int64_t k = 0; k <= steps; ++k) {
    kept.push_back(image("z"));
    kept.back().poison();
    z.push_back(kept.back().view);
  }
  Buffer forward_space("workspace", {recurrence_forward_workspace(x.view, steps)});
  Buffer backward_space("workspace", {recurrence_backward_workspace(x.view, steps)});
  forward_space.poison();
  backward_space.poison();
  const Buffer first = transformed(w_in, false, c, c), second = transformed(w_rec, false, c, c);
  const Buffer first_back = transformed(w_in, true, c, c), second_back = transformed(w_rec, true, c, c);
  bool finite = false;
  Status status = recurrence_forward({x.view, first.view, second.view, gamma.view, beta.view, y.view, mean.view,
                                      variance.view, inverse.view, forward_space.view, z},
                                     1e-5, true, &finite);
  require(status.ok() && finite, name + ": forward " + status.message);
  status = recurrence_backward(
      {x.view, dy.view, first_back.view, second_back.view, gamma.view, beta.view, mean.view, inverse.view, dx.view,
       dw_in.view, dw_rec.view, d_gamma.view, d_beta.view, du.view, dd.view, backward_space.view, z},
      true, true, &finite);
  require(status.ok() && finite, name + ": " + status.message);
  // The normalisation makes the first step blind to the size of the weights that alone feed it.
  if (steps == 0 && dtype == DType::float32 && n * h * w > 4) {
    require_close(product(dw_in, w_in), 0., 1e-2 * std::sqrt(product(dw_in, dw_in) * product(w_in, w_in)), name);
  }
  for (const Buffer* b : {&y, &dx, &dw_in, &d_gamma, &d_beta}) {
    for (int64_t i = 0; i < b->view.numel(); ++i) require(std::isfinite(b->get(i)), name + ": left unwritten");
  }
}

int run_all(bool only_large) {
  int runs = 0;
  for (DType dtype : {DType::float32, DType::bfloat16}) {
    const int64_t convolutions[][5] = {
        {1, 1, 1, 1, 1}, {2, 3, 5, 4, 7}, {1, 17, 33, 6, 9}, {1, 20, 70, 13, 3}, {2, 5, 9, 41, 42}};
    for (const auto& s : convolutions) {
      if (only_large && s[3] * s[4] < 1000) continue;
      for (bool relu : {false, true}) {
        run_conv(s[0], s[1], s[2], s[3], s[4], relu, dtype);
        ++runs;
      }
    }
    const int64_t recurrences[][5] = {{1, 1, 3, 2, 2}, {2, 5, 9, 6, 1}, {1, 17, 8, 9, 0}, {2, 7, 42, 41, 3}};
    for (const auto& s : recurrences) {
      if (only_large && s[2] * s[3] < 1000) continue;
      run_recurrence(s[0], s[1], s[2], s[3], s[4], dtype);
      ++runs;
    }
  }
  return runs;
}

const Register registered(run_all);

}  // namespace
}  // namespace spinecore::driver
