// Products of 64 bits folded onto themselves (as in wyhash), eight chains at a time: as fast as memory delivers.
#include "spinecore/fingerprint.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace spinecore {
namespace {

constexpr uint64_t secret[4] = {0xa0761d6478bd642full, 0xe7037ed1a0b428dbull, 0x8ebc6af09c88c6e3ull,
                                0x589965cc75374cc3ull};
constexpr int chains = 8;

inline uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t word(const char* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

uint64_t of_bytes(const char* from, int64_t size, uint64_t seed) {
  uint64_t state[chains];
  for (int i = 0; i < chains; ++i) state[i] = seed ^ (secret[i % 4] + static_cast<uint64_t>(i));
  for (; size >= 16 * chains; size -= 16 * chains, from += 16 * chains) {
    for (int i = 0; i < chains; ++i) {
      state[i] = fold(word(from + 16 * i) ^ secret[i % 4], word(from + 16 * i + 8) ^ state[i]);
    }
  }
  char rest[16 * chains] = {};
  std::memcpy(rest, from, static_cast<size_t>(size));
  for (int i = 0; i < chains; ++i) {
    state[i] = fold(word(rest + 16 * i) ^ secret[i % 4], word(rest + 16 * i + 8) ^ state[i]);
  }
  uint64_t result = static_cast<uint64_t>(size);
  for (const uint64_t value : state) result = fold(result ^ secret[0], value ^ secret[1]);
  return result;
}

// Of a line of the caches in every `sample_step` bytes, and of the last one.
constexpr int64_t line = 64, sample_step = 2048;
uint64_t of_sample(const char* from, int64_t size, uint64_t seed) {
  if (size <= 2 * sample_step) return of_bytes(from, size, seed);
  uint64_t state[4] = {seed, seed ^ secret[1], seed ^ secret[2], seed ^ secret[3]};
  const auto take = [&](const char* at) {
    for (int i = 0; i < 4; ++i) state[i] = fold(word(at + 16 * i) ^ secret[i], word(at + 16 * i + 8) ^ state[i]);
  };
  for (int64_t at = 0; at + line <= size; at += sample_step) {
    __builtin_prefetch(from + std::min(at + 8 * sample_step, size - line), 0, 0);
    take(from + at);
  }
  take(from + size - line);
  uint64_t result = static_cast<uint64_t>(size);
  for (const uint64_t value : state) result = fold(result ^ secret[0], value ^ secret[1]);
  return result;
}

// Strides in some order from one on, each the one before times its size: no gaps.
bool is_dense(const TensorView& view) {
  int64_t expected = 1, left = 0;
  bool taken[TensorView::max_dims] = {};
  for (int i = 0; i < view.dims; ++i) left += view.shape[i] != 1;
  for (; left > 0; --left) {
    int found = -1;
    for (int i = 0; i < view.dims; ++i) {
      if (!taken[i] && view.shape[i] != 1 && view.strides[i] == expected) found = i;
    }
    if (found < 0) return false;
    taken[found] = true;
    expected *= view.shape[found];
  }
  return true;
}

}  // namespace

Status fingerprint(const std::vector<TensorView>& tensors, bool sampled, uint64_t* result) {
  uint64_t state = secret[2];
  for (const TensorView& view : tensors) {
    if (view.dtype != DType::float32) return Status::wrong_type("fingerprint: a tensor is not float32");
    if (!view.on_cpu || (view.data == nullptr && view.numel() > 0)) {
      return Status::wrong_value("fingerprint: a tensor has no memory on the CPU");
    }
    if (view.numel() > 0 && !is_dense(view)) {
      return Status::wrong_value("fingerprint: a tensor has gaps or overlaps; make it contiguous with .contiguous()");
    }
    state = fold(state, secret[3] ^ static_cast<uint64_t>(view.dims));
    for (int i = 0; i < view.dims; ++i) {
      const uint64_t stride = view.shape[i] == 1 ? 0 : static_cast<uint64_t>(view.strides[i]);
      state = fold(state ^ static_cast<uint64_t>(view.shape[i]), secret[1] ^ stride);
    }
    const auto* from = static_cast<const char*>(view.data);
    const int64_t size = view.numel() > 0 ? view.bytes() : 0;
    if (sampled) {
      state = of_sample(from, size, fold(state, secret[0] ^ reinterpret_cast<uintptr_t>(from)));
    } else {
      state = of_bytes(from, size, state);
    }
  }
  *result = state;
  return {};
}

}  // namespace spinecore
