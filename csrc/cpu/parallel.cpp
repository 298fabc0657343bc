#include "spinecore/parallel.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace spinecore {
namespace {

std::atomic<ParallelFor> borrowed_pool{nullptr};
std::atomic<int> wanted_threads{0};  // 0: as many as the machine has
thread_local bool inside_loop = false;

int pool_threads() {
  const int wanted = wanted_threads.load();
  return wanted > 0 ? wanted : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Workers wait on a condition variable between jobs, so that an idle pool costs nothing. One loop at a time: a second
// caller finds the pool busy and runs its loop itself. Never destroyed: workers sleep in it until the process ends.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads), process_(getpid()) {
    try {
      for (; workers_ < threads - 1; ++workers_) std::thread([this, part = workers_ + 1] { work(part); }).detach();
    } catch (const std::system_error&) {
      // The system gives no more threads: the pool works with those it has.
    }
  }

  bool serves(int threads) const { return threads == threads_ && process_ == getpid(); }

  // False when the pool is busy; nothing ran then.
  bool try_run(int64_t begin, int64_t end, int parts, RangeFunction function, void* context) {
    std::unique_lock<std::mutex> job_lock(one_job_, std::try_to_lock);
    if (!job_lock) return false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = {begin, end, std::min(parts, workers_ + 1), function, context};
      unfinished_ = workers_;
      ++generation_;
    }
    start_.notify_all();
    run_part(job_, 0);
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [this] { return unfinished_ == 0; });
    return true;
  }

 private:
  struct Job {
    int64_t begin, end;
    int parts;
    RangeFunction function;
    void* context;
  };

  static void run_part(const Job& job, int part) {
    if (part >= job.parts) return;
    const int64_t length = job.end - job.begin;
    const int64_t from = job.begin + length * part / job.parts;
    const int64_t to = job.begin + length * (part + 1) / job.parts;
    inside_loop = true;
    if (from < to) job.function(from, to, job.context);
    inside_loop = false;
  }

  void work(int part) {
    for (uint64_t seen = 0;;) {
      Job job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        start_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        job = job_;
      }
      run_part(job, part);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--unfinished_ == 0) finished_.notify_one();
    }
  }

  const int threads_;
  const pid_t process_;
  int workers_ = 0;  // the caller works beside them
  std::mutex one_job_, mutex_;
  std::condition_variable start_, finished_;
  Job job_{};
  uint64_t generation_ = 0;
  int unfinished_ = 0;
};

// A new pool after set_pool_threads, and after fork, which takes no worker along. The old one is left asleep.
Pool* current_pool(int threads) {
  static std::mutex* guard = new std::mutex;
  static Pool* pool = nullptr;
  std::lock_guard<std::mutex> lock(*guard);
  if (pool == nullptr || !pool->serves(threads)) pool = new Pool(threads);
  return pool;
}

}  // namespace

void set_parallel_for(ParallelFor borrowed) { borrowed_pool = borrowed; }

void set_pool_threads(int threads) { wanted_threads = threads; }

const char* parallel_source() {
  if (borrowed_pool.load() != nullptr) return "borrowed";
  return pool_threads() > 1 ? "pool" : "serial";
}

bool parallel_ranges(int64_t begin, int64_t end, int64_t grain, RangeFunction function, void* context) {
  if (begin >= end) return true;
  if (ParallelFor borrowed = borrowed_pool.load()) return borrowed(begin, end, grain, function, context) == 0;
  const int64_t most = (end - begin + grain - 1) / std::max<int64_t>(grain, 1);
  const int parts = static_cast<int>(std::min<int64_t>(most, pool_threads()));
  if (parts > 1 && !inside_loop && current_pool(pool_threads())->try_run(begin, end, parts, function, context))
    return true;
  function(begin, end, context);
  return true;
}

}  // namespace spinecore
