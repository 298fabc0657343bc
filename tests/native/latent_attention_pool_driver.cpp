// Runs latent attention pooling without Python, for the sanitizers: every result is compared with plain double loops.
#include "spinecore/latent_attention_pool.h"

#include "driver.h"

namespace spinecore::driver {
namespace {

struct Shape {
  int64_t batch, tokens, width, rows, heads, head;
};

int64_t padded(int64_t size) { return (size + 15) / 16 * 16; }

// y in double; masked tokens hold garbage and must not count.
void check(const Shape& s, const std::string& name, const Buffer& x, const Buffer& latents, const Buffer& wq,
           const Buffer& wk, const Buffer& wv, const Buffer& wo, const Buffer& mask, const Buffer& bias,
           const Buffer& y) {
  const int64_t d = padded(s.width), inner = s.heads * s.head;
  const double tolerance = x.view.dtype == DType::bfloat16 ? 1e-3 : 2e-4;
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t r = 0; r < s.rows; ++r) {
      std::vector<double> want(d, 0.);
      for (int64_t h = 0; h < s.heads; ++h) {
        std::vector<double> absorbed(s.width, 0.), mean(s.width, 0.);
        for (int64_t j = h * s.head; j < (h + 1) * s.head; ++j) {
          double q = 0;
          for (int64_t c = 0; c < d; ++c) q += latents.get(r * d + c) * wq.get(c * inner + j);
          for (int64_t c = 0; c < s.width; ++c) absorbed[c] += 0.25 * q * wk.get(c * inner + j);
        }
        double total = 0;
        for (int64_t n = 0; n < s.tokens; ++n) {
          if (mask.view.numel() && mask.get(b * s.tokens + n) == 0.f) continue;
          double score = bias.view.numel() ? bias.get(r * s.tokens + n) : 0.;
          for (int64_t c = 0; c < s.width; ++c) score += absorbed[c] * x.get((b * s.tokens + n) * s.width + c);
          const double weight = std::exp(score);
          total += weight;
          for (int64_t c = 0; c < s.width; ++c) mean[c] += weight * x.get((b * s.tokens + n) * s.width + c);
        }
        for (int64_t j = h * s.head; j < (h + 1) * s.head; ++j) {
          double value = 0;
          for (int64_t c = 0; c < s.width && total > 0; ++c) value += mean[c] / total * wv.get(c * inner + j);
          for (int64_t c = 0; c < d; ++c) want[c] += value * wo.get(j * d + c);
        }
      }
      for (int64_t c = 0; c < d; ++c) {
        require(std::fabs(y.get((b * s.rows + r) * d + c) - want[c]) <= tolerance * (1 + std::fabs(want[c])),
                name + ": y");
      }
    }
  }
}

void run(const Shape& s, bool absorbed, bool masked, bool biased, DType dtype, int shift) {
  const std::string name = "B=" + std::to_string(s.batch) + " N=" + std::to_string(s.tokens) +
                           " D=" + std::to_string(s.width) + " R=" + std::to_string(s.rows) +
                           " heads=" + std::to_string(s.heads) + (absorbed ? " absorbed" : " projected") +
                           (dtype == DType::bfloat16 ? " bf16 " : " f32 ") + isa_name(selected_isa());
  const int64_t d = padded(s.width), inner = s.heads * s.head, kept = absorbed ? 1 : 0;
  const auto image = [&](const char* what) { return Buffer(what, {s.batch, s.tokens, s.width}, dtype, false, shift); };
  Buffer x = image("x"), dx = image("dx"), dy("dy", {s.batch, s.rows, d});
  Buffer latents("latents", {s.rows, d}), wq("wq", {d, inner}), wk("wk", {d, inner}), wv("wv", {d, inner}),
      wo("wo", {inner, d});
  Buffer mask("mask", {masked * s.batch, s.tokens}), bias("bias", {biased, s.rows, s.tokens});
  Buffer y("y", {s.batch, s.rows, d}), norms("norms", {2, s.batch, s.heads, s.rows}),
      pooled("pooled", {s.batch, s.rows, inner});
  Buffer scores("scores", {kept * s.batch, s.tokens, s.heads * s.rows}),
      means("means", {kept * s.heads, s.batch, s.rows, d});
  Buffer d_latents("d_latents", {s.rows, d}), dwq("dwq", {d, inner}), dwk("dwk", {d, inner}), dwv("dwv", {d, inner}),
      dwo("dwo", {inner, d}), d_bias("d_bias", {biased * s.batch, s.rows, s.tokens});
  for (Buffer* b : {&x, &dy, &latents, &wq, &wk, &wv, &wo, &bias}) b->randomise();
  for (Buffer* b : {&latents, &wq, &wk, &wv, &wo}) {
    for (int64_t i = 0; i < b->view.numel(); ++i) b->set(i, b->get(i) * 0.2f);
  }
  for (int64_t c = s.width; c < d; ++c) {  // the padding of the width
    for (int64_t r = 0; r < s.rows; ++r) latents.set(r * d + c, 0.f);
    for (int64_t j = 0; j < inner; ++j) {
      for (Buffer* b : {&wq, &wk, &wv}) b->set(c * inner + j, 0.f);
      wo.set(j * d + c, 0.f);
    }
    for (int64_t i = 0; i < s.batch * s.rows; ++i) dy.set(i * d + c, 0.f);
  }
  for (Buffer* b : {&y, &norms, &pooled, &scores, &means, &dx, &d_latents, &dwq, &dwk, &dwv, &dwo, &d_bias})
    b->poison();
  for (int64_t i = 0; i < mask.view.numel(); ++i) {
    const bool keep = i % 3 != 1 && i / s.tokens + 1 < s.batch;  // the last sample has no token
    mask.set(i, keep ? 1.f : 0.f);
    for (int64_t c = 0; c < s.width && !keep; ++c) x.set(i * s.width + c, std::numeric_limits<float>::quiet_NaN());
  }

  Status status = latent_attention_pool_forward({x.view, latents.view, wq.view, wk.view, wv.view, wo.view, mask.view,
                                                 bias.view, y.view, norms.view, pooled.view, scores.view, means.view},
                                                s.heads, 0.25, absorbed);
  require(status.ok(), name + ": " + status.message);
  check(s, name, x, latents, wq, wk, wv, wo, mask, bias, y);
  status = latent_attention_pool_backward(
      {x.view,         dy.view,   latents.view, wq.view,     wk.view,     wv.view,    wo.view,
       mask.view,      bias.view, norms.view,   pooled.view, scores.view, means.view, dx.view,
       d_latents.view, dwq.view,  dwk.view,     dwv.view,    dwo.view,    d_bias.view},
      s.heads, 0.25);
  require(status.ok(), name + ": " + status.message);
  for (int64_t i = 0; i < dx.view.numel(); ++i) {
    const bool keep = mask.view.numel() == 0 || mask.get(i / s.width) != 0.f;
    require(keep ? std::isfinite(dx.get(i)) : dx.get(i) == 0.f, name + ": dx");
  }
  for (Buffer* b : {&d_latents, &dwq, &dwk, &dwv, &dwo}) {
    for (int64_t i = 0; i < b->view.numel(); ++i) require(std::isfinite(b->get(i)), name + ": " + b->view.name);
  }
}

int run_all(bool only_large) {
  int runs = 0;
  const Shape shapes[] = {{1, 1, 1, 1, 1, 16},     {0, 3, 4, 2, 2, 16},    {2, 9, 20, 3, 2, 16},
                          {3, 33, 40, 5, 3, 16},   {2, 40, 17, 17, 1, 32}, {1, 130, 33, 2, 2, 48},
                          {1, 2200, 16, 2, 1, 16}, {20, 4, 16, 1, 5, 16}};
  for (const Shape& s : shapes) {
    if (only_large && s.batch * s.tokens < 80) continue;
    for (const bool absorbed : {true, false}) {
      for (const bool masked : {true, false}) {
        for (const DType dtype : {DType::float32, DType::bfloat16}) {
          run(s, absorbed, masked, masked != (dtype == DType::bfloat16), dtype, runs % 2);
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
