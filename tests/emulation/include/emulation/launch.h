// A grid of blocks on one or more threads of the CPU.
//
// EMULATION_ORDER=forward|reverse|random:<seed> sets who runs first, EMULATION_WORKERS=n how many blocks run at once
// (races between blocks show under TSan with two or more).
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "emulation/block.h"

namespace emulation {

EMULATION_RUNTIME inline void read_order(Worker& w) {
  const char* text = std::getenv("EMULATION_ORDER");
  const std::string order = text != nullptr ? text : "forward";
  if (order == "forward") {
    w.order = Order::forward;
  } else if (order == "reverse") {
    w.order = Order::reverse;
  } else if (order.rfind("random:", 0) == 0) {
    w.order = Order::random;
    w.seed = std::strtoull(order.c_str() + 7, nullptr, 10);
  } else {
    fail("EMULATION_ORDER is '" + order + "', expected forward, reverse or random:<seed>");
  }
}

inline int workers_wanted() {
#if defined(EMULATION_ASAN)
  return 1;  // shared arrays are plain statics there, each with its red zone
#else
  const char* text = std::getenv("EMULATION_WORKERS");
  return text != nullptr ? std::max(1, std::atoi(text)) : 1;
#endif
}

// Kept from launch to launch: stacks cost more than most kernels of a test.
inline Worker* kept_worker(size_t index) {
  static std::vector<std::unique_ptr<Worker>> all;
  while (all.size() <= index) all.push_back(std::make_unique<Worker>());
  return all[index].get();
}

// False where CUDA would refuse the configuration.
inline bool launch(Index3 grid, Index3 block, size_t dynamic_bytes, const std::function<void()>& body) {
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z, threads = uint64_t{block.x} * block.y * block.z;
  constexpr size_t most_shared = size_t{227} << 10;
  if (blocks == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || threads == 0 ||
      threads > most_threads || block.z > 64 || dynamic_bytes > most_shared) {
    return false;
  }
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::atomic<int> errors{0};
  const int count = static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(workers_wanted()), blocks));
  const auto workers = static_cast<uint64_t>(count);
  const auto work = [&](uint64_t first) {
    read_order(*worker);
    worker->body = &body;
    blockDim = block;
    gridDim = grid;
    // A run of blocks for each: what one worker's blocks leave to each other is ordered anyway.
    for (uint64_t k = blocks * first / workers; !stop && k < blocks * (first + 1) / workers; ++k) {
      const uint64_t i = worker->order == Order::reverse ? blocks - 1 - k : k;
      blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                  static_cast<unsigned>(i / (uint64_t{grid.x} * grid.y))};
      try {
        run_block(*worker, dynamic_bytes);
      } catch (...) {
        if (errors.fetch_add(1) == 0) error = std::current_exception();
        stop = true;
      }
    }
  };
  if (count == 1) {
    worker = kept_worker(0);
    work(0);
  } else {
    std::vector<std::thread> pool;
    for (int i = 0; i < count; ++i) {
      Worker* mine = kept_worker(static_cast<size_t>(i));
      pool.emplace_back([&work, mine, i] {
        worker = mine;
        work(static_cast<uint64_t>(i));
      });
    }
    for (std::thread& thread : pool) thread.join();
  }
  if (error) std::rethrow_exception(error);
  return true;
}

}  // namespace emulation
