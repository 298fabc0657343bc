// Atomics, fences and asynchronous copies.
//
// Atomics are relaxed, as in CUDA. A fence before an atomic releases, a fence after one acquires: without them TSan
// sees a race in what a protocol between blocks passes on. A fence counts for the next atomic of its thread up to the
// next barrier; CUDA is more generous, but code that needs more is not written here.
#pragma once

#include <cstring>

#include "emulation/block.h"

namespace emulation {

EMULATION_RUNTIME inline void before_atomic(void* address) {
  Thread& me = *worker->current;
  if (me.fenced) release(address);
  me.fenced = false;
  if (me.atomics_count == 4) fail("more than four atomics without a fence between them: extend Thread::atomics");
  for (int i = 0; i < me.atomics_count; ++i) {
    if (me.atomics[i] == address) return;
  }
  me.atomics[me.atomics_count++] = address;
}

EMULATION_RUNTIME inline void fence(const char* file, int line) {
  if (is_removed({file, line})) return;
  Thread& me = *worker->current;
  for (int i = 0; i < me.atomics_count; ++i) acquire(me.atomics[i]);
  me.atomics_count = 0;
  me.fenced = true;
}

EMULATION_RUNTIME inline void remember_copy(void* target, const void* source, int bytes) {
  Thread& me = *worker->current;
  if (me.copies_count == Thread::most_copies)
    fail("a thread has 128 asynchronous copies under way: extend most_copies");
  me.copies[me.copies_count++] = {target, source, bytes, me.copy_group};
}

// cp.async: the bytes arrive when they are waited for and not before. Until then the target holds NaN, in any type:
// they may arrive from now on, so that TSan must see a write here too, and a missing wait must read nothing useful.
inline void copy_async(void* target, const void* source, int bytes) {
  auto* words = static_cast<volatile uint32_t*>(target);
  for (int i = 0; i < bytes / 4; ++i) words[i] = ~0u;
  remember_copy(target, source, bytes);
}
EMULATION_RUNTIME inline void commit_copies() { ++worker->current->copy_group; }

// Instrumented, unlike the rest: TSan must see the copy as this thread's write.
inline void finish_copy(const PendingCopy& copy) {
  auto* target = static_cast<volatile uint32_t*>(copy.target);
  const auto* source = static_cast<const volatile uint32_t*>(copy.source);
  for (int i = 0; i < copy.bytes / 4; ++i) target[i] = source != nullptr ? source[i] : 0;
}

// The oldest copy that is in none of the last `pending` groups.
EMULATION_RUNTIME inline bool next_copy(int pending, PendingCopy* copy) {
  Thread& me = *worker->current;
  if (me.copies_count == 0 || me.copies[0].group >= me.copy_group - pending) return false;
  *copy = me.copies[0];
  --me.copies_count;
  for (int i = 0; i < me.copies_count; ++i) me.copies[i] = me.copies[i + 1];
  return true;
}

// Leaves the last `pending` groups under way.
inline void wait_copies(int pending, const Site& site = {"", 0}) {
  if (is_removed(site)) return;
  for (PendingCopy copy; next_copy(pending, &copy);) finish_copy(copy);
}

template <class T, class Bits>
T atomic_add_float(T* address, T value) {
  before_atomic(address);
  auto* bits = reinterpret_cast<Bits*>(address);
  Bits old = __atomic_load_n(bits, __ATOMIC_RELAXED), next = 0;
  T number = 0;
  do {
    std::memcpy(&number, &old, sizeof(T));
    const T sum = number + value;
    std::memcpy(&next, &sum, sizeof(T));
  } while (!__atomic_compare_exchange_n(bits, &old, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return number;
}

template <class T>
T atomic_add_integer(T* address, T value) {
  before_atomic(address);
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

}  // namespace emulation

inline float atomicAdd(float* address, float value) {
  return emulation::atomic_add_float<float, uint32_t>(address, value);
}
inline double atomicAdd(double* address, double value) {
  return emulation::atomic_add_float<double, uint64_t>(address, value);
}
inline int atomicAdd(int* address, int value) { return emulation::atomic_add_integer(address, value); }
inline unsigned atomicAdd(unsigned* address, unsigned value) { return emulation::atomic_add_integer(address, value); }
template <class T>
T __ldg(const T* address) {
  return *address;
}
