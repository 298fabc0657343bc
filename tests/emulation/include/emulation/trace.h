// What translated PTX asks of memory: sectors of global and ways of shared memory for every request of a warp, the
// bytes that blocks need at least, and instructions. Only with EMULATION_TRACE; else every function here is empty.
#pragma once

#include <cstdint>

#if defined(EMULATION_TRACE)
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "emulation/block.h"

namespace trace {

struct Access {
  uint64_t address;
  uint32_t bytes;
};

// Of one instruction of one kernel.
struct Totals {
  uint64_t executed = 0, requests = 0, sectors = 0, ideal_sectors = 0, ways = 0;
};

struct Kernel {
  std::map<int, std::string> names;  // instruction -> opcode@line
  std::map<int, Totals> totals;
  uint64_t loaded_sectors = 0, stored_sectors = 0;  // different ones of each block, added up
};

inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}

// The requests of the block under way: (instruction, space, warp, how many times before) -> the lanes' accesses.
using Key = std::tuple<int, int, unsigned, uint32_t>;
struct Block {
  std::map<Key, std::vector<Access>> requests;
  std::map<std::pair<int, unsigned>, uint32_t> turns;
  std::set<uint64_t> loaded, stored;
  Kernel* kernel = nullptr;
  uint64_t index = 0;
};
inline Block& block() {
  static thread_local Block current;
  return current;
}

constexpr int global_load = 0, global_store = 1, shared_access = 2;

inline void finish_block();

// Every instruction of every thread comes here first.
inline void instruction(const char* kernel, int id, const char* name) {
  static thread_local Kernel* current = nullptr;
  static thread_local const char* current_name = nullptr;
  Block& b = block();
  const uint64_t index = blockIdx.x + uint64_t{gridDim.x} * (blockIdx.y + uint64_t{gridDim.y} * blockIdx.z);
  if (b.kernel == nullptr || b.index != index || current_name != kernel) {
    finish_block();
    current = &kernels()[current_name = kernel];
    b.kernel = current;
    b.index = index;
  }
  current->names[id] = name;
  ++current->totals[id].executed;
}

inline void access(int id, int space, const void* address, uint32_t bytes) {
  if (bytes == 0) return;
  Block& b = block();
  const unsigned thread = emulation::worker->current->linear;
  const uint32_t turn = b.turns[{id, thread}]++;
  const auto start = reinterpret_cast<uint64_t>(address);
  b.requests[{id, space, thread / 32, turn}].push_back({start, bytes});
  if (space == shared_access) return;
  for (uint64_t sector = start / 32; sector <= (start + bytes - 1) / 32; ++sector) {
    (space == global_load ? b.loaded : b.stored).insert(sector);
  }
}

// Lanes that a shared memory request serves at once: all of 4 bytes, half of 8, a quarter of 16.
inline uint64_t ways_of(const std::vector<Access>& lanes) {
  const size_t at_once = lanes[0].bytes <= 4 ? 32 : lanes[0].bytes == 8 ? 16 : 8;
  uint64_t worst = 1;
  for (size_t first = 0; first < lanes.size(); first += at_once) {
    std::map<uint64_t, std::set<uint64_t>> banks;
    for (size_t i = first; i < std::min(first + at_once, lanes.size()); ++i) {
      for (uint64_t word = lanes[i].address / 4; word <= (lanes[i].address + lanes[i].bytes - 1) / 4; ++word) {
        banks[word % 32].insert(word);
      }
    }
    for (const auto& bank : banks) worst = std::max<uint64_t>(worst, bank.second.size());
  }
  return worst;
}

// Adds what a block did to its kernel. Called when the next one starts and after the last.
inline void finish_block() {
  Block& b = block();
  if (b.kernel == nullptr) return;
  Kernel& kernel = *b.kernel;
  for (const auto& [key, lanes] : b.requests) {
    Totals& totals = kernel.totals[std::get<0>(key)];
    ++totals.requests;
    if (std::get<1>(key) == shared_access) {
      totals.ways += ways_of(lanes);
      continue;
    }
    std::set<uint64_t> sectors, bytes;
    for (const Access& lane : lanes) {
      for (uint64_t at = lane.address; at < lane.address + lane.bytes; ++at) {
        sectors.insert(at / 32);
        bytes.insert(at);
      }
    }
    totals.sectors += sectors.size();
    totals.ideal_sectors += (bytes.size() + 31) / 32;
  }
  kernel.loaded_sectors += b.loaded.size();
  kernel.stored_sectors += b.stored.size();
  b = Block{};
}

}  // namespace trace
#endif
