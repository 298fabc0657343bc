// What the checked entries of both latent poolings do the same way.
#pragma once

#include <algorithm>
#include <string>

#include "spinecore/entry_checks.h"
#include "spinecore/latent_pool.h"

namespace spinecore {

inline int64_t round_up(int64_t value) { return (value + latent_padding - 1) / latent_padding * latent_padding; }

// Parts of a workspace, one behind the other.
class WorkspaceLayout {
 public:
  int64_t take(int64_t count) {
    const int64_t begin = size_;
    size_ += round_up(count);
    return begin;
  }
  int64_t size() const { return size_; }

 private:
  int64_t size_ = 0;
};

struct LatentSizes {
  int64_t batch = 0, tokens = 0, width = 0, rows = 0, padded = 0, inner = 0;
};

inline Status check_tokens(const char* op, const TensorView& x) {
  if (x.dtype == DType::other) {
    return Status::wrong_type(std::string(op) + ": argument 'x' is " + x.dtype_name +
                              ", expected float32 or bfloat16: convert it with .to(torch.float32)");
  }
  if (x.dims != 3 || x.shape[2] < 1) {
    return Status::wrong_value(std::string(op) + ": argument 'x' has " + std::to_string(x.dims) +
                               " dimensions, expected (B, N, D) with D >= 1");
  }
  return {};
}

// A contiguous tensor of the dtype of x: what check_float32 asks of a float32 tensor.
inline Status check_as_tokens(const char* op, TensorView view, const TensorView& x) {
  Status status = check_like(op, view, x);
  if (!status.ok()) return status;
  view.dtype = DType::float32;
  return check_float32(op, view, {x.shape[0], x.shape[1], x.shape[2]});
}

inline Status check_latent_sizes(const char* op, const TensorView& x, const TensorView& table, const TensorView& wq,
                                 int64_t heads, LatentSizes* sizes) {
  Status status = check_tokens(op, x);
  if (!status.ok()) return status;
  const std::string head = std::string(op) + ": ";
  if (table.dims != 2 || wq.dims != 2)
    return Status::wrong_value(head + "'" + table.name + "' and 'wq' must be matrices");
  *sizes = {x.shape[0], x.shape[1], x.shape[2], table.shape[0], round_up(x.shape[2]), wq.shape[1]};
  if (heads < 1 || sizes->inner < 1 || sizes->inner % heads || sizes->inner / heads % latent_padding) {
    return Status::wrong_value(head + "argument 'wq' has " + std::to_string(sizes->inner) + " columns for " +
                               std::to_string(heads) + " heads, expected a multiple of 16 for each");
  }
  if (sizes->rows < 1) return Status::wrong_value(head + "argument '" + table.name + "' has no rows");
  return {};
}

inline Status check_latent_parameters(const char* op, const LatentSizes& s, const TensorView& table,
                                      const TensorView& wq, const TensorView& wk, const TensorView& wv,
                                      const TensorView& wo) {
  return first_complaint({
      check_float32(op, table, {s.rows, s.padded}),
      check_float32(op, wq, {s.padded, s.inner}),
      check_float32(op, wk, {s.padded, s.inner}),
      check_float32(op, wv, {s.padded, s.inner}),
      check_float32(op, wo, {s.inner, s.padded}),
  });
}

inline float* floats_or_none(const TensorView& view) { return view.numel() ? view.floats() : nullptr; }

inline Status no_memory(const char* op, int64_t count) {
  return Status::internal(std::string(op) + ": no memory for " + std::to_string(4 * count) + " bytes");
}

// Sizes and the parts of the work; the rest is the operator's.
inline LatentPoolGeometry latent_geometry(int64_t batch, int64_t tokens, int64_t width, int64_t rows, int64_t heads,
                                          int64_t head) {
  LatentPoolGeometry g{};
  g.batch = batch;
  g.tokens = tokens;
  g.width = width;
  g.rows = rows;
  g.heads = heads;
  g.padded = round_up(width);
  g.head = head;
  g.inner = heads * head;
  constexpr int64_t most_parts = 16, least_tokens = 1024;
  const int64_t wanted = std::max<int64_t>(most_parts / std::max<int64_t>(batch, 1), 1);
  g.splits = std::max<int64_t>(std::min(tokens / least_tokens, wanted), 1);
  g.slots = std::min(batch * g.splits, most_parts);
  g.group = batch;
  return g;
}

}  // namespace spinecore
