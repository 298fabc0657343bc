// Checks the arguments of the bursts that measure the machine and hands them to the selected instruction set.
#include "spinecore/machine_peak.h"

#include <string>

#include "spinecore/cpu_features.h"
#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(MachinePeakKernels, machine_peak_kernels)

namespace {

Status check_vector(const char* op, const TensorView& view) {
  const int64_t length = view.dims == 1 ? view.shape[0] : view.numel();
  return check_float32(op, view, {length});
}

}  // namespace

Status fma_burst(int64_t steps, int64_t* operations) {
  constexpr int64_t most = int64_t{1} << 40;
  if (steps < 0 || steps > most) {
    return Status::wrong_value("fma_burst: steps is " + std::to_string(steps) + ", expected 0 to 2^40");
  }
  if (!isa_environment_status().ok()) return isa_environment_status();
  *operations = machine_peak_kernels().fma_burst(steps);
  return {};
}

Status read_burst(const TensorView& x, float* total) {
  const Status status = first_complaint({isa_environment_status(), check_vector("read_burst", x)});
  if (status.ok()) *total = machine_peak_kernels().read_burst(x.floats(), x.shape[0]);
  return status;
}

Status copy_burst(const TensorView& x, const TensorView& y, bool streamed) {
  const char* op = "copy_burst";
  Status status = first_complaint({isa_environment_status(), check_vector(op, x)});
  if (!status.ok()) return status;
  status = first_complaint({check_float32(op, y, {x.shape[0]}), check_apart_all(op, {&y}, {&x})});
  if (status.ok()) machine_peak_kernels().copy_burst(x.floats(), y.floats(), x.shape[0], streamed);
  return status;
}

}  // namespace spinecore
