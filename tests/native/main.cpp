// The core without Python: every kernel of every named instruction set, under whatever sanitizer this was compiled
// with.
#include "driver.h"
#include "spinecore/parallel.h"

using namespace spinecore;

int main(int argc, char** argv) {
  driver::require(argc > 2, "usage: driver all|large ISA...");
  const bool only_large = std::string(argv[1]) == "large";  // those that several threads share
  set_pool_threads(3);
  int runs = 0;
  for (int i = 2; i < argc; ++i) {
    const Status status = select_isa(argv[i]);
    driver::require(status.ok(), status.message);
    for (const driver::Driver run : driver::drivers()) runs += run(only_large);
  }
  std::printf("%d runs\n", runs);
  return 0;
}
