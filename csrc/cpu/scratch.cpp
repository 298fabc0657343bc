#include "spinecore/scratch.h"

#include <cstdlib>
#include <memory>

namespace spinecore {
namespace {

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};

struct Scratch {
  std::unique_ptr<float, Free> memory;
  int64_t count = 0;
};

thread_local Scratch scratch;

}  // namespace

float* thread_scratch(int64_t count) {
  constexpr int64_t page = 4096;
  if (count > scratch.count) {
    scratch.memory.reset();
    const int64_t bytes = (count * static_cast<int64_t>(sizeof(float)) + page - 1) / page * page;
    scratch.memory.reset(static_cast<float*>(std::aligned_alloc(page, static_cast<size_t>(bytes))));
    scratch.count = scratch.memory ? bytes / static_cast<int64_t>(sizeof(float)) : 0;
  }
  return scratch.memory.get();
}

}  // namespace spinecore
