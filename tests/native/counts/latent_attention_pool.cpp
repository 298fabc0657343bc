#include "spinecore/latent_attention_pool.h"

#include "counts.h"

namespace spinecore::counts {
namespace {

std::vector<Workload> pool(bool absorbed) {
  const int64_t batch = 2, tokens = 70, width = 64, rows = 6, heads = 4, kept = absorbed ? 1 : 0;
  const auto x = tensor("x", {batch, tokens, width}), dx = tensor("dx", {batch, tokens, width});
  const auto latents = tensor("latents", {rows, width}), d_latents = tensor("d_latents", {rows, width});
  const auto square = [&](const char* name) { return tensor(name, {width, width}); };
  const auto wq = square("wq"), wk = square("wk"), wv = square("wv"), wo = square("wo");
  const auto dwq = square("dwq"), dwk = square("dwk"), dwv = square("dwv"), dwo = square("dwo");
  const auto mask = tensor("mask", {0, tokens}), bias = tensor("bias", {0, rows, tokens});
  const auto d_bias = tensor("d_bias", {0, rows, tokens});
  const auto y = tensor("y", {batch, rows, width}), dy = tensor("dy", {batch, rows, width});
  const auto norms = tensor("norms", {2, batch, heads, rows}), pooled = tensor("pooled", {batch, rows, width});
  const auto scores = tensor("scores", {kept * batch, tokens, heads * rows});
  const auto means = tensor("means", {kept * heads, batch, rows, width});
  const std::string form = absorbed ? " absorbed float32" : " projected float32";
  const auto forward = [=] {
    return latent_attention_pool_forward({x->view, latents->view, wq->view, wk->view, wv->view, wo->view, mask->view,
                                          bias->view, y->view, norms->view, pooled->view, scores->view, means->view},
                                         heads, 0.01, absorbed);
  };
  driver::require(forward().ok(), "latent_attention_pool_forward");
  const auto backward = [=] {
    return latent_attention_pool_backward(
        {x->view,         dy->view,   latents->view, wq->view,     wk->view,     wv->view,    wo->view,
         mask->view,      bias->view, norms->view,   pooled->view, scores->view, means->view, dx->view,
         d_latents->view, dwq->view,  dwk->view,     dwv->view,    dwo->view,    d_bias->view},
        heads, 0.01);
  };
  return {{"latent_attention_pool forward" + form, forward}, {"latent_attention_pool backward" + form, backward}};
}

std::vector<Workload> prepare() {
  std::vector<Workload> all = pool(true);
  for (Workload& workload : pool(false)) all.push_back(std::move(workload));
  return all;
}

const Register registered(prepare);

}  // namespace
}  // namespace spinecore::counts
