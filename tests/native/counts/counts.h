// Small fixed runs of the kernels whose instructions are counted. Each operator registers its own in a file beside
// this.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../driver.h"

namespace spinecore::counts {

struct Workload {
  std::string name;
  std::function<Status()> run;  // owns its tensors
};

// Makes the tensors; called once, on one thread, with the instruction set selected.
using Prepare = std::vector<Workload> (*)();

inline std::vector<Prepare>& prepared() {
  static std::vector<Prepare> all;
  return all;
}

struct Register {
  explicit Register(Prepare prepare) { prepared().push_back(prepare); }
};

// A tensor that a workload shares with nobody else.
inline std::shared_ptr<driver::Buffer> tensor(const char* name, std::vector<int64_t> shape,
                                              DType dtype = DType::float32, bool channels_last = false) {
  auto made = std::make_shared<driver::Buffer>(name, std::move(shape), dtype, channels_last);
  made->randomise();
  return made;
}

}  // namespace spinecore::counts
