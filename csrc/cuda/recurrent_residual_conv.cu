// The launch of the fused recurrent residual convolution; recurrent_residual_conv.cuh has the kernel.
#include "recurrent_residual_conv.cuh"

#include <string>

#include "launches.h"

namespace spinecore::cuda {
namespace {

std::string problem(const RecurrencePlan& p) {
  return "recurrent_residual_conv_forward for x with N, C, H, W = " + std::to_string(p.batch) + ", " +
         std::to_string(p.channels) + ", " + std::to_string(p.height) + ", " + std::to_string(p.width) + " and " +
         std::to_string(p.steps) + " steps (" + element_name(p.element) + ")";
}

bool in_units(const void* data, const RecurrencePlan& p) {
  const int width = p.element == Element::float32 ? 4 : 8;
  return p.channels % width == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

template <class T, int channels>
cudaError_t launch(const RecurrencePlan& plan, const RecurrencePointers& p, void* stream) {
  const auto config =
      launch_configuration(int64_t{plan.batch} * plan.tiles_y * plan.tiles_x, recurrence_threads, stream);
  return cudaLaunchKernelEx(&config, &recur<T, channels>, plan, p, in_units(p.x, plan) && in_units(p.y, plan));
}

}  // namespace

RecurrencePlan recurrence_plan(int batch, int height, int width, int channels, int steps, Element element,
                               bool residual) {
  RecurrencePlan plan{batch, height, width, channels, steps, element, residual};
  // A pixel has 128 bytes at most: the region and its ring are 41 KB of the 48 that every GPU gives a block.
  const int most = element == Element::float32 ? 32 : 64;
  plan.side = recurrence_region - 2 * steps;
  if (channels <= most && steps >= 0 && steps <= recurrence_most_steps) {
    plan.padded = 16;
    while (plan.padded < channels) plan.padded *= 2;
    plan.tiles_x = static_cast<int>(divide_up(width, plan.side));
    plan.tiles_y = static_cast<int>(divide_up(height, plan.side));
  }
  return plan;
}

Status recurrence_forward(const RecurrencePlan& plan, const RecurrencePointers& p, void* stream) {
  const cudaError_t error = for_element(plan.element, [&](auto element) {
    using T = decltype(element);
    if (plan.padded == 16) return launch<T, 16>(plan, p, stream);
    if (plan.padded == 32) return launch<T, 32>(plan, p, stream);
    if constexpr (sizeof(T) == 2) {
      if (plan.padded == 64) return launch<T, 64>(plan, p, stream);
    }
    return cudaErrorInvalidValue;
  });
  return launch_status(error, "the recurrence", problem(plan));
}

}  // namespace spinecore::cuda
