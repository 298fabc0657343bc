// Shuffles, votes and __syncwarp. As in CUDA, only __syncwarp orders memory.
#pragma once

#include "emulation/block.h"

namespace emulation {

inline int lane() { return static_cast<int>(worker->current->linear % 32); }

template <class T>
struct Exchange {
  T given, received;
  int source;  // -1: keeps its own
};

template <class T>
EMULATION_RUNTIME void exchange(Thread** lanes, uint32_t mask) {
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    auto* mine = static_cast<Exchange<T>*>(lanes[i]->argument);
    if (mine->source < 0) continue;
    if (!(mask >> mine->source & 1)) {
      fail(std::string(lanes[i]->operation) + ": " + name_of(*lanes[i]) + " reads lane " +
           std::to_string(mine->source) + ", which is not in the mask");
    }
    mine->received = static_cast<Exchange<T>*>(lanes[mine->source]->argument)->given;
  }
}

template <class T>
EMULATION_RUNTIME T shuffle(uint32_t mask, T value, int source, const char* operation) {
  Exchange<T> mine{value, value, source};
  warp_meeting(mask, operation, &mine, &exchange<T>);
  return mine.received;
}

struct Vote {
  bool mine;
  uint32_t all;
};

EMULATION_RUNTIME inline void count_votes(Thread** lanes, uint32_t mask) {
  uint32_t all = 0;
  for (int i = 0; i < 32; ++i) {
    if (mask >> i & 1) all |= static_cast<uint32_t>(static_cast<Vote*>(lanes[i]->argument)->mine) << i;
  }
  for (int i = 0; i < 32; ++i) {
    if (mask >> i & 1) static_cast<Vote*>(lanes[i]->argument)->all = all;
  }
}

EMULATION_RUNTIME inline uint32_t ballot(uint32_t mask, bool mine) {
  Vote vote{mine, 0};
  warp_meeting(mask, "__ballot_sync", &vote, &count_votes);
  return vote.all;
}

EMULATION_RUNTIME inline void warp_barrier(uint32_t mask, const char* file, int line) {
  if (is_removed({file, line})) return;
  Worker& w = *worker;
  const unsigned warp = w.current->linear / 32;
  void* edge = &w.warp_edge[warp][w.warp_phase[warp] & 1];
  release(edge);
  warp_meeting(mask, "__syncwarp", nullptr, nullptr);
  acquire(edge);
}

}  // namespace emulation

template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32) {
  const int segment = emulation::lane() & ~(width - 1);
  return emulation::shuffle(mask, value, segment + (source & (width - 1)), "__shfl_sync");
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32) {
  const int mine = emulation::lane(), source = mine ^ bits, segment = ~(width - 1);
  return emulation::shuffle(mask, value, (source & segment) > (mine & segment) ? -1 : source, "__shfl_xor_sync");
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
  const int mine = emulation::lane(), step = static_cast<int>(delta);
  return emulation::shuffle(mask, value, (mine & (width - 1)) + step >= width ? -1 : mine + step, "__shfl_down_sync");
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
  const int mine = emulation::lane(), step = static_cast<int>(delta);
  return emulation::shuffle(mask, value, (mine & (width - 1)) < step ? -1 : mine - step, "__shfl_up_sync");
}
inline uint32_t __ballot_sync(uint32_t mask, int mine) { return emulation::ballot(mask, mine != 0); }
inline int __any_sync(uint32_t mask, int mine) { return __ballot_sync(mask, mine) != 0; }
inline int __all_sync(uint32_t mask, int mine) { return __ballot_sync(mask, !mine) == 0; }
