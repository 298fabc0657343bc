// Checks the arguments of the 3x3 convolution and hands them to the kernel of the selected instruction set.
#include "spinecore/conv3x3.h"

#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(Conv3x3Kernels, conv3x3_kernels)

Status conv3x3_forward(const Conv3x3Views& v, bool relu, bool* finite) {
  const char* op = "conv3x3_forward";
  int64_t step = 0;
  Status status =
      first_complaint({isa_environment_status(), check_channels_slice(op, v.x, &step), check_channels_last(op, v.y)});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], in = v.x.shape[1], h = v.x.shape[2], w = v.x.shape[3], out = v.y.shape[1];
  status = first_complaint({
      check_image_shape(op, v.y, v.x, {n, out, h, w}),
      check_float32(op, v.weights, {winograd_weights_size(in, out)}),
      v.bias.numel() ? check_float32(op, v.bias, {out}) : Status{},
      v.residual.numel() ? check_channels_last(op, v.residual) : Status{},
      v.residual.numel() ? check_like(op, v.residual, v.y) : Status{},
      check_apart_all(op, {&v.y}, {&v.x, &v.weights, &v.bias, &v.residual}),
  });
  if (!status.ok()) return status;
  int not_finite = 0;
  const Conv3x3Forward arguments{
      n,
      h,
      w,
      {v.weights.floats(), in, out},
      v.x.dtype,
      relu,
      v.bias.numel() ? v.bias.floats() : nullptr,
      v.residual.numel() ? v.residual.data : nullptr,
      v.x.data,
      step,
      v.y.data,
      &not_finite,
  };
  if (v.y.numel() > 0 && !conv3x3_kernels().forward(arguments)) return thread_failure(op);
  *finite = not_finite == 0;
  return {};
}

}  // namespace spinecore
