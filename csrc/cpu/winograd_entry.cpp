// Checks the arguments of the weight transform and hands them to the kernel of the selected instruction set.
#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"
#include "spinecore/winograd.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(WinogradKernels, winograd_kernels)

int64_t winograd_weights_size(int64_t in, int64_t out) {
  const int64_t lanes = winograd_kernels().lanes;
  return 36 * in * ((out + lanes - 1) / lanes * lanes);
}

Status winograd_transform(const TensorView& w, bool transposed, const TensorView& to) {
  const char* op = "winograd_transform";
  if (!isa_environment_status().ok()) return isa_environment_status();
  if (w.dims != 4) {
    return Status::wrong_value(std::string(op) + ": argument 'w' has " + std::to_string(w.dims) +
                               " dimensions, expected four: (O, I, 3, 3)");
  }
  const int64_t in = w.shape[transposed ? 0 : 1], out = w.shape[transposed ? 1 : 0];
  Status status = first_complaint({check_float32(op, w, {w.shape[0], w.shape[1], 3, 3}),
                                   check_float32(op, to, {winograd_weights_size(in, out)}), check_apart(op, to, w)});
  if (!status.ok()) return status;
  return winograd_kernels().transform({w.floats(), in, out, transposed, to.floats()}) ? Status{} : thread_failure(op);
}

}  // namespace spinecore
