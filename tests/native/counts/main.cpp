// Runs every workload once to warm up and once counted. Meant for valgrind --tool=callgrind --instr-atstart=no, which
// writes one file a workload, with its name.
#include <valgrind/callgrind.h>

#include <cstdio>

#include "counts.h"
#include "spinecore/parallel.h"

using namespace spinecore;

int main(int argc, char** argv) {
  driver::require(argc == 2, "usage: counts ISA");
  const Status selected = select_isa(argv[1]);
  driver::require(selected.ok(), selected.message);
  set_pool_threads(1);
  for (const counts::Prepare prepare : counts::prepared()) {
    for (const counts::Workload& workload : prepare()) {
      const Status warm = workload.run();
      driver::require(warm.ok(), workload.name + ": " + warm.message);
      CALLGRIND_START_INSTRUMENTATION;
      CALLGRIND_ZERO_STATS;
      (void)workload.run();
      CALLGRIND_DUMP_STATS_AT(workload.name.c_str());
      CALLGRIND_STOP_INSTRUMENTATION;
      std::printf("%s\n", workload.name.c_str());
    }
  }
  return 0;
}
