// One block of CUDA threads on one thread of the CPU: who runs next, barriers, and meetings of a warp.
//
// What a GPU would answer with a hang or with wrong numbers is an Error here: threads that wait at different barriers,
// a barrier that some never reach, a warp operation whose mask is not the set of lanes that execute it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "emulation/context.h"

namespace emulation {

struct Index3 {
  unsigned x, y, z;
};

}  // namespace emulation

// CUDA's names for them.
inline thread_local emulation::Index3 threadIdx{}, blockIdx{}, blockDim{}, gridDim{};

namespace emulation {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] inline void fail(const std::string& message) { throw Error("CUDA emulation: " + message); }

// Where in the source a thread waits.
struct Site {
  const char* file;
  int line;
};
inline bool operator==(const Site& a, const Site& b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }
inline std::string text(const Site& site) {
  const char* slash = std::strrchr(site.file, '/');
  return std::string(slash != nullptr ? slash + 1 : site.file) + ":" + std::to_string(site.line);
}

// EMULATION_WITHOUT=file.cuh:12 takes one barrier or fence out: tests of the tests remove each in turn.
EMULATION_RUNTIME inline bool is_removed(const Site& site) {
  static const char* const removed = std::getenv("EMULATION_WITHOUT");
  if (removed == nullptr) return false;
  const char* slash = std::strrchr(site.file, '/');
  const char* name = slash != nullptr ? slash + 1 : site.file;
  const size_t length = std::strlen(name);
  return std::strncmp(removed, name, length) == 0 && removed[length] == ':' &&
         std::atoi(removed + length + 1) == site.line;
}

enum class State : uint8_t { ready, at_barrier, in_warp, done };
enum class Order : uint8_t { forward, reverse, random };

struct PendingCopy {
  void* target;
  const void* source;  // null: zeros
  int bytes, group;
};

struct Thread {
  Context context;
  Index3 index{};
  unsigned linear = 0;
  State state = State::ready;
  Site site{"", 0};
  // What this lane brings to a meeting of its warp.
  uint32_t mask = 0;
  const char* operation = "";
  void* argument = nullptr;
  void (*action)(Thread** lanes, uint32_t mask) = nullptr;
  // Asynchronous copies that were issued and not yet waited for. No container: TSan would watch its insides.
  static constexpr int most_copies = 128;
  PendingCopy copies[most_copies];
  int copies_count = 0, copy_group = 0;
  // Fences: what an atomic read since the last one, and whether one came before the next atomic.
  void* atomics[4] = {};
  int atomics_count = 0;
  bool fenced = false;
};

constexpr unsigned most_threads = 1024;

struct Worker {
  Thread threads[most_threads];
  Context main;
  Thread* current = nullptr;
  unsigned count = 0, live = 0, waiting = 0;
  uint16_t queue[2 * most_threads] = {};  // a ring of ready threads
  unsigned head = 0, tail = 0;
  const std::function<void()>* body = nullptr;
  std::exception_ptr error;
  bool failed = false;
  std::vector<unsigned char> dynamic_shared;
  Order order = Order::forward;
  uint64_t seed = 1;
  // Objects of happens-before edges. Two of each, in turn: a late acquire must not see what the next barrier releases.
  char barrier_edge[2] = {}, warp_edge[32][2] = {}, start_edge = 0, end_edge = 0;
  unsigned barrier_phase = 0, warp_phase[32] = {};
};

inline thread_local Worker* worker = nullptr;

inline std::string name_of(const Thread& thread) {
  const auto triple = [](const Index3& i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
  };
  return "block " + triple(blockIdx) + " thread " + triple(thread.index);
}

EMULATION_RUNTIME inline void enqueue(Worker& w, unsigned thread) {
  w.threads[thread].state = State::ready;
  w.queue[w.tail++ % (2 * most_threads)] = static_cast<uint16_t>(thread);
}

// The next ready thread; null when there is none.
EMULATION_RUNTIME inline Thread* next_thread(Worker& w) {
  if (w.head == w.tail) return nullptr;
  if (w.order == Order::random) {
    w.seed = w.seed * 6364136223846793005u + 1442695040888963407u;
    const unsigned pick = w.head + static_cast<unsigned>(w.seed >> 33) % (w.tail - w.head);
    const uint16_t chosen = w.queue[pick % (2 * most_threads)];
    w.queue[pick % (2 * most_threads)] = w.queue[w.head % (2 * most_threads)];
    w.queue[w.head % (2 * most_threads)] = chosen;
  }
  return &w.threads[w.queue[w.head++ % (2 * most_threads)]];
}

EMULATION_RUNTIME inline void run_others(Worker& w, bool for_good = false) {
  Thread* me = w.current;
  Thread* next = next_thread(w);
  if (next == me) return;
  w.current = next;
  if (next != nullptr) threadIdx = next->index;
  switch_context(me->context, next != nullptr ? next->context : w.main, for_good);
}

EMULATION_RUNTIME inline void open_barrier(Worker& w) {
  w.waiting = 0;
  ++w.barrier_phase;
  for (unsigned k = 0; k < w.count; ++k) {
    const unsigned i = w.order == Order::reverse ? w.count - 1 - k : k;
    if (w.threads[i].state == State::at_barrier) enqueue(w, i);
  }
}

// __syncthreads. Exited threads count as arrived, as on sm_70 and newer.
EMULATION_RUNTIME inline void block_barrier(const char* file, int line) {
  const Site site{file, line};
  if (is_removed(site)) return;
  Worker& w = *worker;
  Thread& me = *w.current;
  me.site = site;
  me.fenced = false;  // what is written from here on no earlier fence covers
  void* edge = &w.barrier_edge[w.barrier_phase & 1];
  release(edge);
  me.state = State::at_barrier;
  if (++w.waiting == w.live) {
    for (unsigned i = 0; i < w.count; ++i) {
      const Thread& other = w.threads[i];
      if (other.state == State::at_barrier && !(other.site == site)) {
        fail("divergent __syncthreads: " + name_of(me) + " waits at " + text(site) + ", " + name_of(other) + " at " +
             text(other.site));
      }
    }
    open_barrier(w);
  }
  run_others(w);
  acquire(edge);
}

// The lanes of `mask` meet; the last one to arrive runs `action` for all of them.
EMULATION_RUNTIME inline void warp_meeting(uint32_t mask, const char* operation, void* argument,
                                           void (*action)(Thread**, uint32_t)) {
  Worker& w = *worker;
  Thread& me = *w.current;
  const unsigned lane = me.linear % 32, first = me.linear - lane;
  const uint32_t existing = w.count - first >= 32 ? ~0u : (1u << (w.count - first)) - 1;
  if (!(mask >> lane & 1)) fail(std::string(operation) + ": " + name_of(me) + " executes it but is not in its mask");
  mask &= existing;
  me.mask = mask;
  me.operation = operation;
  me.argument = argument;
  me.action = action;
  me.state = State::in_warp;
  Thread* lanes[32] = {};
  bool complete = true;
  for (unsigned i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    Thread& other = *(lanes[i] = &w.threads[first + i]);
    if (other.state == State::done) {
      fail(std::string(operation) + ": lane " + std::to_string(i) + " is in the mask and has exited; " + name_of(me));
    }
    if (other.state != State::in_warp) {
      complete = false;
    } else if (other.action != action || other.mask != mask) {
      fail(std::string("lanes of a warp meet in different operations: ") + operation + " and " + other.operation +
           " with masks " + std::to_string(mask) + " and " + std::to_string(other.mask) + "; " + name_of(me));
    }
  }
  if (complete) {
    if (action != nullptr) action(lanes, mask);
    ++w.warp_phase[me.linear / 32];
    for (unsigned k = 0; k < 32; ++k) {
      const unsigned i = w.order == Order::reverse ? 31 - k : k;
      if (mask >> i & 1) enqueue(w, first + i);
    }
  }
  run_others(w);
}

// What waits when nobody is ready.
inline std::string deadlock_text(const Worker& w) {
  unsigned barriers = 0, warps = 0;
  const Thread* example = nullptr;
  for (unsigned i = 0; i < w.count; ++i) {
    const State state = w.threads[i].state;
    barriers += state == State::at_barrier;
    warps += state == State::in_warp;
    if (state != State::done) example = &w.threads[i];
  }
  return "deadlock: " + std::to_string(barriers) + " threads wait at __syncthreads, " + std::to_string(warps) +
         " in warp operations (" + example->operation + "), " + std::to_string(w.count - w.live) +
         " have exited; for example " + name_of(*example);
}

EMULATION_RUNTIME inline void thread_main() {
  Worker& w = *worker;
#if defined(EMULATION_ASAN)
  const void* bottom = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  if (w.main.asan_bottom == nullptr) {
    w.main.asan_bottom = bottom;
    w.main.asan_size = size;
  }
#endif
  acquire(&w.start_edge);
  try {
    (*w.body)();
  } catch (...) {
    if (!w.failed) w.error = std::current_exception();
    w.failed = true;
  }
  release(&w.end_edge);
  Thread& me = *w.current;
  me.state = State::done;
  --w.live;
  if (w.failed) w.head = w.tail;  // nobody else runs
  if (!w.failed && w.live > 0 && w.waiting == w.live) open_barrier(w);
  run_others(w, true);
  __builtin_trap();
}

// Runs one block to its end. `blockIdx`, `blockDim` and `gridDim` are set.
EMULATION_RUNTIME inline void run_block(Worker& w, size_t dynamic_bytes) {
  w.count = w.live = blockDim.x * blockDim.y * blockDim.z;
  w.waiting = w.head = w.tail = 0;
  w.failed = false;
  w.dynamic_shared.assign(dynamic_bytes + 1, 0xff);  // NaN: what nobody wrote shows
#if defined(EMULATION_TSAN)
  w.main.tsan = __tsan_get_current_fiber();
#endif
  release(&w.start_edge);
  for (unsigned i = 0; i < w.count; ++i) {
    Thread& thread = w.threads[i];
    thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    thread.linear = i;
    thread.copies_count = thread.copy_group = thread.atomics_count = 0;
    thread.fenced = false;
    thread.operation = "";
    prepare(thread.context, &thread_main);
  }
  for (unsigned k = 0; k < w.count; ++k) enqueue(w, w.order == Order::reverse ? w.count - 1 - k : k);
  w.current = next_thread(w);
  threadIdx = w.current->index;
  switch_context(w.main, w.current->context, false);
  acquire(&w.end_edge);
  if (w.failed) std::rethrow_exception(std::exchange(w.error, nullptr));
  if (w.live > 0) fail(deadlock_text(w));
}

}  // namespace emulation
