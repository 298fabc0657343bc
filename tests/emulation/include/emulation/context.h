// Contexts that are switched by hand, one for every emulated CUDA thread, and what the sanitizers must be told of them.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_THREAD__)
#define EMULATION_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define EMULATION_ASAN 1
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EMULATION_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define EMULATION_ASAN 1
#endif
#endif

#if defined(EMULATION_TSAN)
// The runtime's own memory is shared by all contexts of a worker, without any order that TSan could see.
#define EMULATION_RUNTIME __attribute__((no_sanitize("thread"), noinline))
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#else
#define EMULATION_RUNTIME
#endif
#if defined(EMULATION_ASAN)
extern "C" {
void __asan_unpoison_memory_region(const volatile void* address, size_t size);
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** old_bottom, size_t* old_size);
}
#endif

namespace emulation {

// Happens-before edges; nothing without TSan.
EMULATION_RUNTIME inline void release([[maybe_unused]] void* object) {
#if defined(EMULATION_TSAN)
  __tsan_release(object);
#endif
}
EMULATION_RUNTIME inline void acquire([[maybe_unused]] void* object) {
#if defined(EMULATION_TSAN)
  __tsan_acquire(object);
#endif
}

struct Context {
  static constexpr size_t stack_size = size_t{256} << 10;
  void* stack_pointer = nullptr;
  char* stack = nullptr;  // null for the context a worker starts with
  const void* asan_bottom = nullptr;
  size_t asan_size = 0;
  void* asan_fake_stack = nullptr;
  void* tsan = nullptr;
};

#if defined(__x86_64__)
extern "C" void emulation_swap_stacks(void** save, void* load);
__asm__(R"(
.pushsection .text
.weak emulation_swap_stacks
.type emulation_swap_stacks,@function
emulation_swap_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulation_swap_stacks,.-emulation_swap_stacks
.popsection
)");
#else
#error "the emulation switches stacks with x86-64 code; other processors need their own (aarch64: x19-x30, d8-d15)"
#endif

// Makes `context` start in `entry` the next time it is switched to. `entry` must not return.
EMULATION_RUNTIME inline void prepare(Context& context, void (*entry)()) {
  if (context.stack == nullptr) {
    context.stack = static_cast<char*>(
        mmap(nullptr, Context::stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    context.asan_bottom = context.stack;
    context.asan_size = Context::stack_size;
  }
#if defined(EMULATION_ASAN)
  __asan_unpoison_memory_region(context.stack, Context::stack_size);  // what the last thread here left
#endif
  void** top = reinterpret_cast<void**>(context.stack + Context::stack_size);
  *--top = nullptr;                              // where a return address would be
  *--top = reinterpret_cast<void*>(entry);       // what `ret` jumps to
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the saved registers
  context.stack_pointer = top;
  context.asan_fake_stack = nullptr;
#if defined(EMULATION_TSAN)
  // Once: the threads of the blocks before on this worker come before those of this one anyway.
  if (context.tsan == nullptr) context.tsan = __tsan_create_fiber(1);
#endif
}

// `leaves_for_good`: `from` is never switched to again.
EMULATION_RUNTIME inline void switch_context(Context& from, Context& to, [[maybe_unused]] bool leaves_for_good) {
#if defined(EMULATION_TSAN)
  __tsan_switch_to_fiber(to.tsan, 1);  // 1: without a happens-before edge
#endif
#if defined(EMULATION_ASAN)
  __sanitizer_start_switch_fiber(leaves_for_good ? nullptr : &from.asan_fake_stack, to.asan_bottom, to.asan_size);
#endif
  emulation_swap_stacks(&from.stack_pointer, to.stack_pointer);
#if defined(EMULATION_ASAN)
  __sanitizer_finish_switch_fiber(from.asan_fake_stack, nullptr, nullptr);
#endif
}

}  // namespace emulation
