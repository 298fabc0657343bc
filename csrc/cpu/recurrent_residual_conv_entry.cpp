// Checks the arguments of the recurrent residual convolution and hands them to the kernel of the selected instruction
// set.
#include "spinecore/recurrent_residual_conv.h"

#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(RecurrentKernels, recurrent_residual_conv_kernels)

namespace {

int64_t images_between(int64_t n, int64_t image, int64_t steps) { return n * image * (steps < 2 ? 1 + steps : 3); }

// Taller images overflow the arithmetic of rings of rows.
bool can_advance_together(int64_t height, int64_t steps) { return height < (int64_t{1} << 24) / (steps + 4); }

}  // namespace

int64_t recurrent_forward_workspace(int64_t n, int64_t channels, int64_t height, int64_t width, int64_t steps,
                                    int64_t threads) {
  const int64_t image = height * width * channels;
  // Together unless everything fits into the second level anyway, or a narrow image has too few rows of tiles to give
  // every thread a band.
  const bool short_of_bands = width < 64 && n * ((height + 3) / 4) < (threads - 1) * recurrent_band_tiles(steps);
  const bool together = steps > 0 && image * 4 > (256 << 10) && !short_of_bands && can_advance_together(height, steps);
  return together ? 0 : images_between(n, image, steps);
}

Status recurrent_residual_conv_forward(const RecurrentForwardViews& v, int64_t steps, bool residual, bool* finite) {
  const char* op = "recurrent_residual_conv_forward";
  Status status = first_complaint({isa_environment_status(), check_channels_last(op, v.x), check_channels_last(op, v.y),
                                   steps < 0 ? Status::wrong_value(std::string(op) + ": steps is " +
                                                                   std::to_string(steps) + ", expected an integer >= 0")
                                             : Status{}});
  if (!status.ok()) return status;
  const int64_t n = v.x.shape[0], c = v.x.shape[1], h = v.x.shape[2], w = v.x.shape[3];
  const bool per_step = v.scale.dims == 2;
  const auto check_row = [&](const TensorView& row) {
    return per_step ? check_float32(op, row, {steps + 1, c}) : check_float32(op, row, {c});
  };
  const int64_t transformed = winograd_weights_size(c, c);
  const bool together = v.workspace.numel() == 0 && can_advance_together(h, steps);
  status = first_complaint({
      check_like(op, v.y, v.x),
      check_float32(op, v.w_in, {transformed}),
      check_float32(op, v.w_rec, {transformed}),
      check_row(v.scale),
      check_row(v.shift),
      check_float32(op, v.workspace, {together ? 0 : images_between(n, h * w * c, steps)}),
      check_apart_all(op, {&v.y, &v.workspace}, {&v.x, &v.w_in, &v.w_rec, &v.scale, &v.shift}),
  });
  if (!status.ok()) return status;
  int not_finite = 0;
  const RecurrentForward arguments{
      n,
      c,
      h,
      w,
      steps,
      {v.w_in.floats(), c, c},
      {v.w_rec.floats(), c, c},
      v.x.dtype,
      residual,
      v.scale.floats(),
      v.shift.floats(),
      per_step ? c : 0,
      v.x.data,
      v.y.data,
      together ? nullptr : v.workspace.floats(),
      &not_finite,
  };
  if (v.y.numel() > 0 && !recurrent_residual_conv_kernels().forward(arguments)) return thread_failure(op);
  *finite = not_finite == 0;
  return {};
}

}  // namespace spinecore
