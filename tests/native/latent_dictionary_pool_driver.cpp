// Runs latent dictionary pooling without Python, for the sanitizers: every result is compared with plain double loops.
#include "spinecore/latent_dictionary_pool.h"

#include "driver.h"

namespace spinecore::driver {
namespace {

struct Shape {
  int64_t batch, tokens, width, rows, heads, head;
};

int64_t padded(int64_t size) { return (size + 15) / 16 * 16; }

// row (length D) times w (D, inner), the columns of one head.
std::vector<double> project(const Buffer& from, int64_t row, const Buffer& w, int64_t head, int64_t width) {
  const int64_t depth = w.view.shape[0], inner = w.view.shape[1], length = from.view.shape[from.view.dims - 1];
  std::vector<double> result(width, 0.);
  for (int64_t j = 0; j < width; ++j) {
    for (int64_t c = 0; c < std::min(depth, length); ++c) {
      result[j] += from.get(row * length + c) * w.get(c * inner + head * width + j);
    }
  }
  return result;
}

void check(const Shape& s, const std::string& name, const Buffer& x, const Buffer& table, const Buffer& wq,
           const Buffer& wk, const Buffer& wv, const Buffer& wo, const Buffer& mask, const Buffer& y) {
  const int64_t d = padded(s.width);
  const double tolerance = x.view.dtype == DType::bfloat16 ? 1e-3 : 2e-4;
  std::vector<double> want(s.batch * d, 0.);
  for (int64_t h = 0; h < s.heads; ++h) {
    std::vector<std::vector<double>> keys, values;
    for (int64_t r = 0; r < s.rows; ++r) {
      keys.push_back(project(table, r, wk, h, s.head));
      values.push_back(project(table, r, wv, h, s.head));
    }
    for (int64_t b = 0; b < s.batch; ++b) {
      std::vector<double> mean(s.head, 0.);
      int64_t count = 0;
      for (int64_t n = 0; n < s.tokens; ++n) {
        if (mask.view.numel() && mask.get(b * s.tokens + n) == 0.f) continue;
        ++count;
        const std::vector<double> query = project(x, b * s.tokens + n, wq, h, s.head);
        std::vector<double> weights(s.rows);
        double total = 0;
        for (int64_t r = 0; r < s.rows; ++r) {
          double score = 0;
          for (int64_t j = 0; j < s.head; ++j) score += 0.25 * query[j] * keys[r][j];
          total += weights[r] = std::exp(score);
        }
        for (int64_t r = 0; r < s.rows; ++r) {
          for (int64_t j = 0; j < s.head; ++j) mean[j] += weights[r] / total * values[r][j];
        }
      }
      for (int64_t j = 0; j < s.head && count > 0; ++j) {
        for (int64_t c = 0; c < d; ++c) {
          want[b * d + c] += mean[j] / static_cast<double>(count) * wo.get((h * s.head + j) * d + c);
        }
      }
    }
  }
  for (int64_t i = 0; i < s.batch * d; ++i) {
    require(std::fabs(y.get(i) - want[i]) <= tolerance * (1 + std::fabs(want[i])), name + ": y");
  }
}

void run(const Shape& s, bool masked, DType dtype, int shift) {
  const std::string name = "dictionary B=" + std::to_string(s.batch) + " N=" + std::to_string(s.tokens) +
                           " D=" + std::to_string(s.width) + " R=" + std::to_string(s.rows) +
                           " heads=" + std::to_string(s.heads) + (dtype == DType::bfloat16 ? " bf16 " : " f32 ") +
                           isa_name(selected_isa());
  const int64_t d = padded(s.width), inner = s.heads * s.head;
  const auto image = [&](const char* what) { return Buffer(what, {s.batch, s.tokens, s.width}, dtype, false, shift); };
  Buffer x = image("x"), dx = image("dx"), dy("dy", {s.batch, d}), y("y", {s.batch, d});
  Buffer table("dictionary", {s.rows, d}), wq("wq", {d, inner}), wk("wk", {d, inner}), wv("wv", {d, inner}),
      wo("wo", {inner, d});
  Buffer mask("mask", {masked * s.batch, s.tokens});
  Buffer d_table("d_dictionary", {s.rows, d}), dwq("dwq", {d, inner}), dwk("dwk", {d, inner}), dwv("dwv", {d, inner}),
      dwo("dwo", {inner, d});
  for (Buffer* b : {&x, &dy, &table, &wq, &wk, &wv, &wo}) b->randomise();
  for (Buffer* b : {&table, &wq, &wk, &wv, &wo}) {
    for (int64_t i = 0; i < b->view.numel(); ++i) b->set(i, b->get(i) * 0.2f);
  }
  for (int64_t c = s.width; c < d; ++c) {  // the padding of the width
    for (int64_t r = 0; r < s.rows; ++r) table.set(r * d + c, 0.f);
    for (int64_t j = 0; j < inner; ++j) {
      for (Buffer* b : {&wq, &wk, &wv}) b->set(c * inner + j, 0.f);
      wo.set(j * d + c, 0.f);
    }
    for (int64_t i = 0; i < s.batch; ++i) dy.set(i * d + c, 0.f);
  }
  for (Buffer* b : {&y, &dx, &d_table, &dwq, &dwk, &dwv, &dwo}) b->poison();
  for (int64_t i = 0; i < mask.view.numel(); ++i) {
    const bool keep = i % 3 != 1 && i / s.tokens + 1 < s.batch;  // the last sample has no token
    mask.set(i, keep ? 1.f : 0.f);
    for (int64_t c = 0; c < s.width && !keep; ++c) x.set(i * s.width + c, std::numeric_limits<float>::quiet_NaN());
  }
  Status status = latent_dictionary_pool_forward(
      {x.view, table.view, wq.view, wk.view, wv.view, wo.view, mask.view, y.view}, s.heads, 0.25);
  require(status.ok(), name + ": " + status.message);
  check(s, name, x, table, wq, wk, wv, wo, mask, y);
  status = latent_dictionary_pool_backward({x.view, dy.view, table.view, wq.view, wk.view, wv.view, wo.view, mask.view,
                                            dx.view, d_table.view, dwq.view, dwk.view, dwv.view, dwo.view},
                                           s.heads, 0.25);
  require(status.ok(), name + ": " + status.message);
  for (int64_t i = 0; i < dx.view.numel(); ++i) {
    const bool keep = mask.view.numel() == 0 || mask.get(i / s.width) != 0.f;
    require(keep ? std::isfinite(dx.get(i)) : dx.get(i) == 0.f, name + ": dx");
  }
  for (Buffer* b : {&d_table, &dwq, &dwk, &dwv, &dwo}) {
    for (int64_t i = 0; i < b->view.numel(); ++i) require(std::isfinite(b->get(i)), name + ": " + b->view.name);
  }
}

int run_all(bool only_large) {
  int runs = 0;
  // Small dictionaries are absorbed, large ones are not.
  const Shape shapes[] = {{1, 1, 1, 1, 1, 16},   {0, 3, 4, 2, 2, 16},     {2, 9, 20, 3, 2, 16},
                          {3, 33, 70, 5, 2, 48}, {2, 110, 17, 17, 1, 32}, {1, 2100, 16, 2, 1, 16},
                          {2, 40, 16, 40, 2, 16}};
  for (const Shape& s : shapes) {
    if (only_large && s.batch * s.tokens < 80) continue;
    for (const bool masked : {true, false}) {
      for (const DType dtype : {DType::float32, DType::bfloat16}) {
        run(s, masked, dtype, runs % 2);
        ++runs;
      }
    }
  }
  return runs;
}

const Register registered(run_all);

}  // namespace
}  // namespace spinecore::driver
