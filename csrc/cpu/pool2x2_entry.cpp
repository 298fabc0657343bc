// Checks the arguments of the pooling and hands them to the kernel of the selected instruction set.
#include "spinecore/pool2x2.h"

#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(Pool2x2Kernels, pool2x2_kernels)

Status pool2x2(const TensorView& x, int64_t pooling, const TensorView& y) {
  const char* op = "pool2x2";
  Status status = first_complaint({isa_environment_status(), check_channels_last(op, x), check_channels_last(op, y)});
  if (!status.ok()) return status;
  if (pooling < 0 || pooling > 1) return Status::wrong_value("pool2x2: pooling must be 0 (largest) or 1 (mean)");
  status = first_complaint(
      {check_image_shape(op, y, x, {x.shape[0], x.shape[1], x.shape[2] / 2, x.shape[3] / 2}), check_apart(op, y, x)});
  if (!status.ok()) return status;
  if (x.dtype != DType::float32) return Status::wrong_type("pool2x2: argument 'x' is not float32");
  const Pool2x2 arguments{
      x.floats(), y.floats(), x.shape[0], x.shape[2], x.shape[3], x.shape[1], static_cast<Pooling>(pooling)};
  return y.numel() == 0 || pool2x2_kernels().run(arguments) ? Status{} : thread_failure(op);
}

}  // namespace spinecore
