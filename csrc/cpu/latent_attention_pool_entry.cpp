// Checks the arguments of latent attention pooling and hands them to the kernel of the selected instruction set.
#include <algorithm>
#include <string>

#include "latent_entry.h"
#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"
#include "spinecore/latent_attention_pool.h"
#include "spinecore/scratch.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(LatentAttentionKernels, latent_attention_pool_kernels)

namespace {

constexpr int64_t gap = latent_row_gap;

int64_t forward_scratch(const LatentPoolGeometry& g) {
  const int64_t rows = g.padded + gap + g.columns + gap + (g.absorbed ? 0 : g.inner + gap);
  return g.block * rows + g.columns;
}

int64_t sums_row(const LatentPoolGeometry& g) { return g.absorbed ? g.padded : g.head; }

}  // namespace

LatentPoolGeometry latent_attention_geometry(int64_t batch, int64_t tokens, int64_t width, int64_t rows, int64_t heads,
                                             int64_t head, bool absorbed) {
  LatentPoolGeometry g = latent_geometry(batch, tokens, width, rows, heads, head);
  g.absorbed = absorbed;
  g.head_columns = absorbed ? rows : round_up(rows);
  g.columns = absorbed ? round_up(heads * rows) : heads * g.head_columns;
  g.block = 120;  // whole tiles of six, eight and twelve rows
  constexpr int64_t group_floats = 16 << 20;
  const int64_t each = g.splits * (g.columns * sums_row(g) + forward_scratch(g)) + g.columns * g.padded;
  g.group = std::clamp<int64_t>(group_floats / each, 1, std::max<int64_t>(batch, 1));
  return g;
}

LatentAttentionForwardSpace latent_attention_forward_space(const LatentPoolGeometry& g) {
  LatentAttentionForwardSpace s{};
  WorkspaceLayout layout;
  const int64_t units = g.group * g.splits;
  s.queries = layout.take(g.rows * g.inner);
  s.queries_t = layout.take(g.inner * round_up(g.rows));
  s.keys_t = layout.take(g.absorbed ? g.padded * (g.columns + gap) : 0);
  s.packed = layout.take(g.padded * (g.absorbed ? g.columns : g.inner));
  s.packed_values = layout.take(g.absorbed ? 0 : g.padded * g.inner);
  s.top = layout.take(units * g.columns);
  s.total = layout.take(units * g.columns);
  s.sums = layout.take(units * g.columns * sums_row(g));
  s.means = layout.take(g.absorbed ? g.group * g.heads * g.rows * g.padded : 0);
  s.scratch_each = round_up(forward_scratch(g));
  s.scratch = layout.take(units * s.scratch_each);
  s.size = layout.size();
  return s;
}

LatentAttentionBackwardSpace latent_attention_backward_space(const LatentPoolGeometry& g) {
  LatentAttentionBackwardSpace s{};
  WorkspaceLayout layout;
  // Absorbed, heads overlap in their padding and samples may too; projected, every sample has its padding.
  s.d_pooled_sample = g.absorbed ? g.rows : g.head_columns;
  s.d_pooled_row = round_up(g.batch * s.d_pooled_sample) + gap;
  s.queries = layout.take(g.rows * g.inner);
  s.queries_t = layout.take(g.inner * round_up(g.rows));
  s.keys_t = layout.take(g.absorbed ? g.padded * (g.columns + gap) : 0);
  s.packed = layout.take(g.absorbed ? 0 : g.padded * g.inner);
  s.packed_values = layout.take(g.absorbed ? 0 : g.padded * g.inner);
  s.both_t = layout.take(g.absorbed ? 0 : 2 * g.inner * g.padded);
  s.dy_t = layout.take(g.padded * s.d_pooled_row);
  s.d_pooled_t = layout.take(g.inner * s.d_pooled_row);
  s.d_pooled = layout.take(g.batch * g.rows * g.inner);
  s.values_t = layout.take(g.absorbed ? g.heads * g.padded * s.d_pooled_row + gap : 0);
  s.delta = layout.take(g.batch * g.columns);
  s.tops = layout.take(g.batch * g.columns);
  s.inverses = layout.take(g.batch * g.columns);
  s.d_queries = layout.take(g.rows * g.inner);
  s.d_queries_t = layout.take(g.inner * round_up(g.rows));
  s.d_latents_t = layout.take(g.padded * round_up(g.rows));
  s.sums_each = g.absorbed ? g.heads * g.rows * g.padded : (2 * g.padded + g.rows) * g.inner;
  s.sums = layout.take(g.slots * s.sums_each);
  const int64_t block_rows = g.padded + gap + 2 * g.columns + gap + g.padded;
  const int64_t rest = g.absorbed ? g.padded * (g.columns + gap + 3 * g.columns) : 2 * g.block * (2 * g.inner + gap);
  s.scratch_each = round_up(g.block * block_rows + rest);
  s.scratch = layout.take(g.slots * s.scratch_each);
  s.size = layout.size();
  return s;
}

namespace {

Status check_bias(const char* op, const LatentSizes& s, const TensorView& mask, const TensorView& bias) {
  const int64_t samples = bias.dims == 3 && bias.shape[0] == 1 ? 1 : s.batch;
  return first_complaint({
      mask.numel() ? check_float32(op, mask, {s.batch, s.tokens}) : Status{},
      bias.numel() ? check_float32(op, bias, {samples, s.rows, s.tokens}) : Status{},
  });
}

Status check_kept(const char* op, const LatentSizes& s, int64_t heads, const TensorView& scores,
                  const TensorView& means) {
  if (scores.numel() == 0 && means.numel() == 0) return {};
  return first_complaint({check_float32(op, scores, {s.batch, s.tokens, heads * s.rows}),
                          check_float32(op, means, {heads, s.batch, s.rows, s.padded})});
}

int64_t bias_step(const TensorView& bias) { return bias.numel() && bias.shape[0] > 1 ? bias.strides[0] : 0; }

}  // namespace

Status latent_attention_pool_forward(const LatentAttentionForwardViews& v, int64_t heads, double scale, bool absorbed) {
  const char* op = "latent_attention_pool_forward";
  LatentSizes s;
  Status status = first_complaint({isa_environment_status(), check_latent_sizes(op, v.x, v.latents, v.wq, heads, &s)});
  if (!status.ok()) return status;
  status = first_complaint({
      check_as_tokens(op, v.x, v.x),
      check_latent_parameters(op, s, v.latents, v.wq, v.wk, v.wv, v.wo),
      check_bias(op, s, v.mask, v.bias),
      check_float32(op, v.y, {s.batch, s.rows, s.padded}),
      check_float32(op, v.norms, {2, s.batch, heads, s.rows}),
      check_float32(op, v.pooled, {s.batch, s.rows, s.inner}),
      check_kept(op, s, heads, v.scores, v.means),
      check_apart_all(op, {&v.y, &v.norms, &v.pooled, &v.scores, &v.means},
                      {&v.x, &v.latents, &v.wq, &v.wk, &v.wv, &v.wo, &v.mask, &v.bias}),
  });
  if (!status.ok() || s.batch == 0) return status;
  const LatentPoolGeometry geometry = latent_attention_geometry(s.batch, s.tokens, s.width, s.rows, heads,
                                                                s.inner / heads, absorbed || v.means.numel() > 0);
  const LatentAttentionForwardSpace space = latent_attention_forward_space(geometry);
  float* workspace = thread_scratch(space.size);
  if (workspace == nullptr) return no_memory(op, space.size);
  const LatentAttentionForward arguments{
      geometry,
      space,
      v.x.dtype,
      {v.latents.floats(), v.wq.floats(), v.wk.floats(), v.wv.floats(), v.wo.floats(), static_cast<float>(scale),
       floats_or_none(v.mask)},
      v.x.data,
      floats_or_none(v.bias),
      bias_step(v.bias),
      v.y.floats(),
      v.norms.floats(),
      v.pooled.floats(),
      floats_or_none(v.scores),
      floats_or_none(v.means),
      workspace,
      // What is kept for a backward is float32 throughout.
      v.x.dtype == DType::bfloat16 && geometry.absorbed && v.means.numel() == 0 && has_bf16_products(),
  };
  return latent_attention_pool_kernels().forward(arguments) ? Status{} : thread_failure(op);
}

Status latent_attention_pool_backward(const LatentAttentionBackwardViews& v, int64_t heads, double scale) {
  const char* op = "latent_attention_pool_backward";
  LatentSizes s;
  Status status = first_complaint({isa_environment_status(), check_latent_sizes(op, v.x, v.latents, v.wq, heads, &s)});
  if (!status.ok()) return status;
  status = first_complaint({
      check_as_tokens(op, v.x, v.x),
      check_as_tokens(op, v.dx, v.x),
      check_float32(op, v.dy, {s.batch, s.rows, s.padded}),
      check_latent_parameters(op, s, v.latents, v.wq, v.wk, v.wv, v.wo),
      check_latent_parameters(op, s, v.d_latents, v.dwq, v.dwk, v.dwv, v.dwo),
      check_bias(op, s, v.mask, v.bias),
      check_float32(op, v.norms, {2, s.batch, heads, s.rows}),
      check_float32(op, v.pooled, {s.batch, s.rows, s.inner}),
      check_kept(op, s, heads, v.scores, v.means),
      v.d_bias.numel() ? check_float32(op, v.d_bias, {s.batch, s.rows, s.tokens}) : Status{},
      check_apart_all(op, {&v.dx, &v.d_latents, &v.dwq, &v.dwk, &v.dwv, &v.dwo, &v.d_bias},
                      {&v.x, &v.dy, &v.latents, &v.wq, &v.wk, &v.wv, &v.wo, &v.mask, &v.bias, &v.norms, &v.pooled,
                       &v.scores, &v.means}),
  });
  if (!status.ok()) return status;
  if (s.batch == 0) {
    for (const TensorView* sum : {&v.d_latents, &v.dwq, &v.dwk, &v.dwv, &v.dwo}) {
      std::fill_n(sum->floats(), sum->numel(), 0.f);
    }
    return {};
  }
  const LatentPoolGeometry geometry =
      latent_attention_geometry(s.batch, s.tokens, s.width, s.rows, heads, s.inner / heads, v.means.numel() > 0);
  const LatentAttentionBackwardSpace space = latent_attention_backward_space(geometry);
  float* workspace = thread_scratch(space.size);
  if (workspace == nullptr) return no_memory(op, space.size);
  const LatentAttentionBackward arguments{
      geometry,
      space,
      v.x.dtype,
      {v.latents.floats(), v.wq.floats(), v.wk.floats(), v.wv.floats(), v.wo.floats(), static_cast<float>(scale),
       floats_or_none(v.mask)},
      v.x.data,
      floats_or_none(v.bias),
      bias_step(v.bias),
      v.dy.floats(),
      v.norms.floats(),
      v.pooled.floats(),
      floats_or_none(v.scores),
      floats_or_none(v.means),
      v.dx.data,
      v.d_latents.floats(),
      v.dwq.floats(),
      v.dwk.floats(),
      v.dwv.floats(),
      v.dwo.floats(),
      floats_or_none(v.d_bias),
      workspace,
  };
  return latent_attention_pool_kernels().backward(arguments) ? Status{} : thread_failure(op);
}

}  // namespace spinecore
