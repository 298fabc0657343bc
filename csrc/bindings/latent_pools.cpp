// The two latent poolings.
#include "bindings.h"
#include "spinecore/latent_attention_pool.h"
#include "spinecore/latent_dictionary_pool.h"

namespace py = pybind11;

namespace spinecore {
namespace latent_pools_bindings {

void attention_forward(View x, View latents, View wq, View wk, View wv, View wo, int64_t heads, double scale, View mask,
                       View bias, bool absorbed, View y, View norms, View pooled, View scores, View means) {
  const LatentAttentionForwardViews views{
      named(x, "x"),           named(latents, "latents"), named(wq, "wq"),      named(wk, "wk"), named(wv, "wv"),
      named(wo, "wo"),         named(mask, "mask"),       named(bias, "bias"),  named(y, "y"),   named(norms, "norms"),
      named(pooled, "pooled"), named(scores, "scores"),   named(means, "means")};
  call(latent_attention_pool_forward, views, heads, scale, absorbed);
}

void attention_backward(View x, View dy, View latents, View wq, View wk, View wv, View wo, int64_t heads, double scale,
                        View mask, View bias, View norms, View pooled, View scores, View means, View dx, View d_latents,
                        View dwq, View dwk, View dwv, View dwo, View d_bias) {
  const LatentAttentionBackwardViews views{
      named(x, "x"),         named(dy, "dy"),         named(latents, "latents"),
      named(wq, "wq"),       named(wk, "wk"),         named(wv, "wv"),
      named(wo, "wo"),       named(mask, "mask"),     named(bias, "bias"),
      named(norms, "norms"), named(pooled, "pooled"), named(scores, "scores"),
      named(means, "means"), named(dx, "dx"),         named(d_latents, "d_latents"),
      named(dwq, "dwq"),     named(dwk, "dwk"),       named(dwv, "dwv"),
      named(dwo, "dwo"),     named(d_bias, "d_bias")};
  call(latent_attention_pool_backward, views, heads, scale);
}

void dictionary_forward(View x, View table, View wq, View wk, View wv, View wo, int64_t heads, double scale, View mask,
                        View y) {
  const LatentDictionaryForwardViews views{
      named(x, "x"),   named(table, "dictionary"), named(wq, "wq"), named(wk, "wk"), named(wv, "wv"),
      named(wo, "wo"), named(mask, "mask"),        named(y, "y")};
  call(latent_dictionary_pool_forward, views, heads, scale);
}

void dictionary_backward(View x, View dy, View table, View wq, View wk, View wv, View wo, int64_t heads, double scale,
                         View mask, View dx, View d_table, View dwq, View dwk, View dwv, View dwo) {
  const LatentDictionaryBackwardViews views{named(x, "x"),
                                            named(dy, "dy"),
                                            named(table, "dictionary"),
                                            named(wq, "wq"),
                                            named(wk, "wk"),
                                            named(wv, "wv"),
                                            named(wo, "wo"),
                                            named(mask, "mask"),
                                            named(dx, "dx"),
                                            named(d_table, "d_dictionary"),
                                            named(dwq, "dwq"),
                                            named(dwk, "dwk"),
                                            named(dwv, "dwv"),
                                            named(dwo, "dwo")};
  call(latent_dictionary_pool_backward, views, heads, scale);
}

}  // namespace latent_pools_bindings

void bind_latent_pools(py::module_& module) {
  using namespace latent_pools_bindings;
  module.def("latent_attention_pool_forward", &attention_forward, py::arg("x"), py::arg("latents"), py::arg("wq"),
             py::arg("wk"), py::arg("wv"), py::arg("wo"), py::arg("heads"), py::arg("scale"), py::arg("mask"),
             py::arg("bias"), py::arg("absorbed"), py::arg("y"), py::arg("norms"), py::arg("pooled"), py::arg("scores"),
             py::arg("means"));
  module.def("latent_attention_pool_backward", &attention_backward, py::arg("x"), py::arg("dy"), py::arg("latents"),
             py::arg("wq"), py::arg("wk"), py::arg("wv"), py::arg("wo"), py::arg("heads"), py::arg("scale"),
             py::arg("mask"), py::arg("bias"), py::arg("norms"), py::arg("pooled"), py::arg("scores"), py::arg("means"),
             py::arg("dx"), py::arg("d_latents"), py::arg("dwq"), py::arg("dwk"), py::arg("dwv"), py::arg("dwo"),
             py::arg("d_bias"));
  module.def("latent_dictionary_pool_forward", &dictionary_forward, py::arg("x"), py::arg("dictionary"), py::arg("wq"),
             py::arg("wk"), py::arg("wv"), py::arg("wo"), py::arg("heads"), py::arg("scale"), py::arg("mask"),
             py::arg("y"));
  module.def("latent_dictionary_pool_backward", &dictionary_backward, py::arg("x"), py::arg("dy"),
             py::arg("dictionary"), py::arg("wq"), py::arg("wk"), py::arg("wv"), py::arg("wo"), py::arg("heads"),
             py::arg("scale"), py::arg("mask"), py::arg("dx"), py::arg("d_dictionary"), py::arg("dwq"), py::arg("dwk"),
             py::arg("dwv"), py::arg("dwo"));
}

}  // namespace spinecore
