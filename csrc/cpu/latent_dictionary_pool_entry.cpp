// Checks the arguments of latent dictionary pooling and hands them to the kernel of the selected instruction set.
#include "spinecore/latent_dictionary_pool.h"

#include <algorithm>

#include "latent_entry.h"
#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"
#include "spinecore/scratch.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(LatentDictionaryKernels, latent_dictionary_pool_kernels)

LatentPoolGeometry latent_dictionary_geometry(int64_t batch, int64_t tokens, int64_t width, int64_t rows, int64_t heads,
                                              int64_t head) {
  LatentPoolGeometry g = latent_geometry(batch, tokens, width, rows, heads, head);
  g.head_columns = round_up(rows);
  g.columns = heads * g.head_columns;
  g.absorbed = g.columns < g.padded + g.head_columns;
  g.block = 96;
  return g;
}

LatentDictionarySpace latent_dictionary_space(const LatentPoolGeometry& g, bool backward) {
  LatentDictionarySpace s{};
  WorkspaceLayout layout;
  const int64_t rows = round_up(g.rows), batch = round_up(g.batch), table = g.rows * g.inner;
  const auto if_backward = [&](int64_t count) { return layout.take(backward ? count : 0); };
  s.keys = layout.take(table);
  s.keys_t = layout.take(g.inner * rows);
  s.values = layout.take(table);
  s.values_t = layout.take(g.inner * rows);
  s.absorbed = layout.take(g.absorbed ? g.padded * (g.columns + latent_row_gap) : 0);
  s.packed = layout.take(g.padded * (g.absorbed ? g.columns : g.inner));
  s.means = layout.take(g.batch * g.columns);
  s.pooled = layout.take(g.batch * g.inner);
  s.weights = layout.take(g.batch * g.splits * g.columns);
  s.counts = layout.take(g.batch);
  s.packed_t = if_backward(g.padded * (g.absorbed ? g.columns : g.inner));
  s.dy_t = if_backward(g.padded * batch);
  s.d_pooled_t = if_backward(g.inner * batch);
  s.d_pooled = if_backward(g.batch * g.inner);
  s.d_weights = if_backward(g.batch * g.columns);
  s.d_keys = if_backward(table);
  s.d_values = if_backward(table);
  s.d_keys_t = if_backward(g.inner * rows);
  s.d_values_t = if_backward(g.inner * rows);
  s.d_table_t = if_backward(g.padded * rows);
  s.sums_each = g.absorbed ? g.columns * g.padded : (g.padded + g.rows) * g.inner;
  s.sums = if_backward(g.slots * s.sums_each);
  const int64_t scores = (g.absorbed ? g.columns : g.head_columns) + latent_row_gap;
  const int64_t queries = g.absorbed ? 0 : 2 * (g.inner + latent_row_gap);
  s.scratch_each = g.block * (g.padded + latent_row_gap + scores + queries + g.padded);
  s.scratch = layout.take(g.slots * s.scratch_each);
  s.size = layout.size();
  return s;
}

namespace {

Status check_call(const char* op, const LatentSizes& s, const LatentDictionaryForwardViews& v) {
  return first_complaint({
      check_as_tokens(op, v.x, v.x),
      check_latent_parameters(op, s, v.table, v.wq, v.wk, v.wv, v.wo),
      v.mask.numel() ? check_float32(op, v.mask, {s.batch, s.tokens}) : Status{},
      check_float32(op, v.y, {s.batch, s.padded}),
  });
}

// Without the workspace.
LatentDictionaryForward arguments_of(const LatentDictionaryForwardViews& v, const LatentSizes& s, int64_t heads,
                                     double scale, bool backward) {
  const LatentPoolGeometry geometry =
      latent_dictionary_geometry(s.batch, s.tokens, s.width, s.rows, heads, s.inner / heads);
  return {
      geometry,
      latent_dictionary_space(geometry, backward),
      v.x.dtype,
      v.table.floats(),
      v.wq.floats(),
      v.wk.floats(),
      v.wv.floats(),
      v.wo.floats(),
      static_cast<float>(scale),
      floats_or_none(v.mask),
      v.x.data,
      v.y.floats(),
      nullptr,
  };
}

}  // namespace

Status latent_dictionary_pool_forward(const LatentDictionaryForwardViews& v, int64_t heads, double scale) {
  const char* op = "latent_dictionary_pool_forward";
  LatentSizes s;
  Status status = first_complaint({isa_environment_status(), check_latent_sizes(op, v.x, v.table, v.wq, heads, &s)});
  if (!status.ok()) return status;
  status = first_complaint({
      check_call(op, s, v),
      check_apart_all(op, {&v.y}, {&v.x, &v.table, &v.wq, &v.wk, &v.wv, &v.wo, &v.mask}),
  });
  if (!status.ok() || s.batch == 0) return status;
  LatentDictionaryForward arguments = arguments_of(v, s, heads, scale, false);
  arguments.workspace = thread_scratch(arguments.space.size);
  if (arguments.workspace == nullptr) return no_memory(op, arguments.space.size);
  return latent_dictionary_pool_kernels().forward(arguments) ? Status{} : thread_failure(op);
}

Status latent_dictionary_pool_backward(const LatentDictionaryBackwardViews& v, int64_t heads, double scale) {
  const char* op = "latent_dictionary_pool_backward";
  LatentSizes s;
  Status status = first_complaint({isa_environment_status(), check_latent_sizes(op, v.x, v.table, v.wq, heads, &s)});
  if (!status.ok()) return status;
  const LatentDictionaryForwardViews views{v.x, v.table, v.wq, v.wk, v.wv, v.wo, v.mask, v.dy};
  status = first_complaint({
      check_call(op, s, views),
      check_as_tokens(op, v.dx, v.x),
      check_latent_parameters(op, s, v.d_table, v.dwq, v.dwk, v.dwv, v.dwo),
      check_apart_all(op, {&v.dx, &v.d_table, &v.dwq, &v.dwk, &v.dwv, &v.dwo},
                      {&v.x, &v.dy, &v.table, &v.wq, &v.wk, &v.wv, &v.wo, &v.mask}),
  });
  if (!status.ok()) return status;
  if (s.batch == 0) {
    for (const TensorView* sum : {&v.d_table, &v.dwq, &v.dwk, &v.dwv, &v.dwo}) {
      std::fill_n(sum->floats(), sum->numel(), 0.f);
    }
    return {};
  }
  LatentDictionaryBackward arguments{arguments_of(views, s, heads, scale, true),
                                     v.dy.floats(),
                                     v.dx.data,
                                     v.d_table.floats(),
                                     v.dwq.floats(),
                                     v.dwk.floats(),
                                     v.dwv.floats(),
                                     v.dwo.floats()};
  arguments.forward.workspace = thread_scratch(arguments.forward.space.size);
  if (arguments.forward.workspace == nullptr) return no_memory(op, arguments.forward.space.size);
  return latent_dictionary_pool_kernels().backward(arguments) ? Status{} : thread_failure(op);
}

}  // namespace spinecore
