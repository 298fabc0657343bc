// Calls of the core that can be made at once, or recorded and repeated without Python between them.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <utility>
#include <vector>

#include "bindings.h"

namespace spinecore {

// One call with its arguments; clears `finite` where a result holds NaN or infinity that has to be computed otherwise.
// Views hold pointers only: whoever keeps a step keeps its tensors.
using Step = std::function<Status(bool* finite)>;

class Program {
 public:
  void add(Step step) { steps_.push_back(std::move(step)); }

  // Runs the steps in their order; stops at the first that is not finite.
  bool run() const {
    bool finite = true;
    Status status;
    {
      pybind11::gil_scoped_release unlocked;
      for (const Step& step : steps_) {
        status = step(&finite);
        if (!status.ok() || !finite) break;
      }
    }
    raise_unless_ok(status);
    return finite;
  }

 private:
  std::vector<Step> steps_;
};

// Binds `make(arguments) -> Step` under one name twice: as a function of the module that runs the step and says whether
// all is finite, and as a method of Program that records it.
template <class... Arguments, class... Extra>
void define_step(pybind11::module_& module, const char* name, Step (*make)(Arguments...), const Extra&... extra) {
  module.def(
      name,
      [make](Arguments... arguments) {
        const Step step = make(std::forward<Arguments>(arguments)...);
        bool finite = true;
        call(step, &finite);
        return finite;
      },
      extra...);
  auto program = pybind11::reinterpret_borrow<pybind11::class_<Program>>(module.attr("Program"));
  program.def(
      name, [make](Program& self, Arguments... arguments) { self.add(make(std::forward<Arguments>(arguments)...)); },
      extra...);
}

}  // namespace spinecore
