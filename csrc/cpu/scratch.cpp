#include "spinecore/scratch.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

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
  // Huge pages where the memory fills one: transforms write to 36 places far apart at once.
  constexpr int64_t small_page = 4096, huge_page = int64_t{2} << 20;
  if (count > scratch.count) {
    scratch.memory.reset();
    const int64_t page = count * static_cast<int64_t>(sizeof(float)) > huge_page / 2 ? huge_page : small_page;
    const int64_t bytes = (count * static_cast<int64_t>(sizeof(float)) + page - 1) / page * page;
    scratch.memory.reset(static_cast<float*>(std::aligned_alloc(page, static_cast<size_t>(bytes))));
#if defined(MADV_HUGEPAGE)
    if (page == huge_page && scratch.memory)
      (void)madvise(scratch.memory.get(), static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
    scratch.count = scratch.memory ? bytes / static_cast<int64_t>(sizeof(float)) : 0;
  }
  return scratch.memory.get();
}

}  // namespace spinecore
