// Runs the scSE gate without Python, for the sanitizers: every shape is compared with a plain double loop.
#include "spinecore/scse_gate.h"

#include "driver.h"

namespace spinecore::driver {
namespace {

double logistic(double x) { return 1. / (1. + std::exp(-x)); }

void run(int64_t n, int64_t c, int64_t h, int64_t w, int64_t r, int mode, bool channels_last, DType dtype, int shift) {
  const std::string name = "n=" + std::to_string(n) + " c=" + std::to_string(c) + " h=" + std::to_string(h) +
                           " w=" + std::to_string(w) + " mode=" + std::to_string(mode) +
                           (channels_last ? " nhwc" : " nchw") + (dtype == DType::bfloat16 ? " bf16" : " f32") + " " +
                           isa_name(selected_isa());
  const auto image = [&](const char* what) { return Buffer(what, {n, c, h, w}, dtype, channels_last, shift); };
  Buffer x = image("x"), dy = image("dy"), y = image("y"), dx = image("dx");
  Buffer w1("w1", {r, c}), b1("b1", {r}), w2("w2", {c, r}), b2("b2", {c}), ws("ws", {c}), bs("bs", {1});
  Buffer channel("channel_gate", {n, c}), spatial("spatial_gate", {n, h * w}), pooled("pooled", {n, c});
  Buffer dw1("dw1", {r, c}), db1("db1", {r}), dw2("dw2", {c, r}), db2("db2", {c}), dws("dws", {c}), dbs("dbs", {1});
  for (Buffer* b : {&x, &dy, &w1, &b1, &w2, &b2, &ws, &bs}) b->randomise();
  for (Buffer* b : {&y, &dx, &channel, &spatial, &pooled, &dw1, &db1, &dw2, &db2, &dws, &dbs}) b->poison();
  ImageLayout layout = image_layout(x.view);
  const bool rows_of_channels = layout.channels_last && (!layout.contiguous || h * w == 1);
  Buffer workspace("workspace", {scse_gate_backward_workspace(scse_gate_geometry(n, c, h * w, r, rows_of_channels))});
  workspace.poison();

  Status status = scse_gate_forward(
      {x.view, w1.view, b1.view, w2.view, b2.view, ws.view, bs.view, y.view, channel.view, spatial.view, pooled.view},
      mode);
  require(status.ok(), name + ": " + status.message);
  status = scse_gate_backward(
      {x.view, dy.view, w1.view, b1.view, w2.view, b2.view, ws.view, channel.view, spatial.view, pooled.view, dx.view,
       dw1.view, db1.view, dw2.view, db2.view, dws.view, dbs.view, workspace.view},
      mode);
  require(status.ok(), name + ": " + status.message);

  const double relative = dtype == DType::bfloat16 ? 1e-2 : 1e-5;
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> mean(c), hidden(r), gate(c);
    const auto at = [&](int64_t k, int64_t p) {
      return i * c * h * w + (rows_of_channels ? p * c + k : k * h * w + p);
    };
    for (int64_t k = 0; k < c; ++k) {
      for (int64_t p = 0; p < h * w; ++p) mean[k] += x.get(at(k, p)) / static_cast<double>(h * w);
    }
    for (int64_t j = 0; j < r; ++j) {
      hidden[j] = b1.get(j);
      for (int64_t k = 0; k < c; ++k) hidden[j] += w1.get(j * c + k) * mean[k];
      hidden[j] = hidden[j] > 0 ? hidden[j] : 0;
    }
    for (int64_t k = 0; k < c; ++k) {
      gate[k] = b2.get(k);
      for (int64_t j = 0; j < r; ++j) gate[k] += w2.get(k * r + j) * hidden[j];
      gate[k] = logistic(gate[k]);
    }
    for (int64_t p = 0; p < h * w; ++p) {
      double score = bs.get(0);
      for (int64_t k = 0; k < c; ++k) score += ws.get(k) * x.get(at(k, p));
      const double s = logistic(score);
      for (int64_t k = 0; k < c; ++k) {
        const double want = x.get(at(k, p)) * (mode == 0 ? gate[k] + s : (gate[k] > s ? gate[k] : s));
        require(std::fabs(y.get(at(k, p)) - want) <= relative * (1 + std::fabs(want)), name + ": y");
        require(std::isfinite(dx.get(at(k, p))), name + ": dx was not written");
      }
    }
  }
  for (Buffer* b : {&dw1, &db1, &dw2, &db2, &dws, &dbs}) {
    for (int64_t k = 0; k < b->view.numel(); ++k) require(std::isfinite(b->get(k)), name + ": " + b->view.name);
  }
}

int run_all(bool only_large) {
  int runs = 0;
  const int64_t shapes[][5] = {{1, 1, 1, 1, 1},   {0, 4, 3, 3, 2},    {2, 3, 5, 7, 2},    {1, 16, 9, 15, 2},
                               {2, 17, 8, 8, 4},  {1, 31, 13, 3, 1},  {3, 64, 6, 6, 8},   {1, 5, 1, 70, 0},
                               {2, 33, 1, 1, 3},  {1, 1, 19, 21, 1},  {1, 32, 40, 41, 4}, {1, 2, 95, 60, 1},
                               {4, 130, 7, 5, 9}, {1, 64, 50, 50, 8}, {1, 3, 0, 4, 2}};
  for (const auto& s : shapes) {
    if (only_large && s[1] * s[2] * s[3] < 50000) continue;
    for (int mode : {0, 1}) {
      for (bool channels_last : {false, true}) {
        for (DType dtype : {DType::float32, DType::bfloat16}) {
          for (int shift : {0, 1}) {
            run(s[0], s[1], s[2], s[3], s[4], mode, channels_last, dtype, shift);
            ++runs;
          }
        }
      }
    }
  }
  return runs;
}

const Register registered(run_all);

}  // namespace
}  // namespace spinecore::driver
