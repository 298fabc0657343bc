// One way to run a loop on several threads, whoever owns the threads.
//
// The slot is filled from Python with `torch_parallel_for` of libtorch_cpu, so that the core computes on torch's own
// pool and honours torch.set_num_threads. The core itself links no OpenMP runtime: a second one in the process makes
// both spin on each other's cores. Without torch's symbol a small pool that sleeps between jobs is used.
#pragma once

#include <cstdint>

namespace spinecore {

using RangeFunction = void (*)(int64_t begin, int64_t end, void* context);

// Signature of `torch_parallel_for` (torch/csrc/stable/c/shim.h); returns 0 when the loop ran.
using ParallelFor = int32_t (*)(int64_t begin, int64_t end, int64_t grain, RangeFunction function, void* context);

// nullptr gives the loop back to the core's own pool.
void set_parallel_for(ParallelFor borrowed);

// Threads of the own pool, the calling one included; 1 runs every loop on the calling thread.
void set_pool_threads(int threads);

// "borrowed", "pool" or "serial": who runs the loops now.
const char* parallel_source();

// Cuts [begin, end) into ranges of at least `grain` and runs `function` on each. False when the owner of the threads
// reported a failure, in which case an unknown part of the ranges ran.
[[nodiscard]] bool parallel_ranges(int64_t begin, int64_t end, int64_t grain, RangeFunction function, void* context);

// The same for a callable `body(begin, end)` that does not throw.
template <class Body>
[[nodiscard]] inline bool parallel_for(int64_t begin, int64_t end, int64_t grain, const Body& body) {
  return parallel_ranges(
      begin, end, grain,
      [](int64_t from, int64_t to, void* context) { (*static_cast<const Body*>(context))(from, to); },
      const_cast<Body*>(&body));
}

}  // namespace spinecore
