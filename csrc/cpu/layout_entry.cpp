// Checks the arguments of a copy between layouts and hands them to the kernel of the selected instruction set.
#include <utility>

#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"
#include "spinecore/layout.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(LayoutKernels, layout_kernels)

Status copy_layout(const TensorView& from, const TensorView& to) {
  const char* op = "copy_layout";
  Status status = first_complaint({isa_environment_status(), check_image(op, from), check_image(op, to),
                                   check_like(op, to, from), check_apart_all(op, {&to}, {&from})});
  if (!status.ok() || from.numel() == 0) return status;
  const ImageLayout before = image_layout(from), after = image_layout(to);
  const int64_t n = from.shape[0], c = from.shape[1], pixels = from.shape[2] * from.shape[3];
  Exchange arguments{n, c, pixels, from.dtype, from.data, to.data};
  if (before.channels_last && after.contiguous) {
    std::swap(arguments.rows, arguments.columns);
  } else if (!before.contiguous || !after.channels_last) {
    return Status::wrong_value(std::string(op) + ": both arguments have the same layout, there is nothing to exchange");
  }
  return layout_kernels().exchange(arguments) ? Status{} : thread_failure(op);
}

}  // namespace spinecore
