// Runs the bursts that measure the machine, for the sanitizers: every length around a vector, aligned or not.
#include "spinecore/machine_peak.h"

#include "driver.h"

namespace spinecore::driver {
namespace {

int run_all(bool only_large) {
  if (only_large) return 0;
  int runs = 0;
  int64_t operations = 0;
  require(fma_burst(1000, &operations).ok() && operations > 0, "fma_burst");
  for (int64_t length : {0, 1, 3, 4, 15, 16, 17, 63, 64, 127, 128, 129, 1000}) {
    for (int shift : {0, 1}) {
      Buffer x("x", {length}, DType::float32, false, shift), y("y", {length}, DType::float32, false, 1 - shift);
      x.randomise();
      float total = 0;
      require(read_burst(x.view, &total).ok() && std::isfinite(total), "read_burst");
      for (bool streamed : {false, true}) {
        y.poison();
        require(copy_burst(x.view, y.view, streamed).ok(), "copy_burst");
        for (int64_t i = 0; i < length; ++i) require(y.get(i) == x.get(i), "copy_burst: not a copy");
        ++runs;
      }
    }
  }
  return runs;
}

const Register registered(run_all);

}  // namespace
}  // namespace spinecore::driver
