// Launches of the 3x3 convolution; conv3x3.cuh and conv3x3_weights.cuh have the kernels.
#include "conv3x3.cuh"

#include <algorithm>
#include <string>

#include "conv3x3_weights.cuh"
#include "launches.h"

namespace spinecore::cuda {
namespace {

std::string problem(const char* op, const Conv3x3Plan& p) {
  return std::string(op) + " for x with N, C, H, W = " + std::to_string(p.batch) + ", " + std::to_string(p.in) + ", " +
         std::to_string(p.height) + ", " + std::to_string(p.width) + " and " + std::to_string(p.out) +
         " channels after it (" + element_name(p.element) + ")";
}

// fours() of feature_products.cu for what may be absent.
bool aligned(const void* data, int columns, Element element) {
  return columns % 4 == 0 && reinterpret_cast<uintptr_t>(data) % (element == Element::float32 ? 16 : 8) == 0;
}

Patches patches_of(const Conv3x3Plan& p, const void* x) {
  return {x,
          p.batch * p.height * p.width,
          9 * p.in,
          divisor_of(p.height),
          divisor_of(p.width),
          divisor_of(p.in),
          aligned(x, p.in, p.element)};
}

Factor rows_of(const Conv3x3Plan& p, const void* data, int rows, int columns) {
  return {data, rows, columns, p.element, nullptr, nullptr, nullptr, aligned(data, columns, p.element), false, false};
}

// Whether 16 bytes of every pixel may be read at once.
bool in_units(const void* data, int channels, Element element) {
  return channels % (element == Element::float32 ? 4 : 8) == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

// Split until there is a block for each multiprocessor of the largest GPUs, but with at least 256 pixels each: what a
// split has summed is written and read again, 72 KB a block.
WeightGradientPlan weight_gradient_plan(const Conv3x3Plan& p, int rows) {
  const auto count = [](int size, int unit) { return static_cast<int>(divide_up(size, unit)); };
  WeightGradientPlan plan;
  plan.across = count(p.width, gradient_across);
  plan.down = count(p.height, rows);
  plan.tiles = p.batch * plan.down * plan.across;
  plan.blocks_in = count(p.in, gradient_in);
  plan.blocks = count(p.out, gradient_out) * plan.blocks_in;
  const int wanted = std::max(1, product_blocks / 2 / plan.blocks), least = 256 / (rows * gradient_across);
  plan.split_tiles = std::max(count(plan.tiles, wanted), std::min(plan.tiles, least));
  plan.splits = count(plan.tiles, plan.split_tiles);
  return plan;
}

}  // namespace

Conv3x3Plan conv3x3_plan(int batch, int height, int width, int in, int out, Element element, bool tf32) {
  Conv3x3Plan plan;
  plan.batch = batch;
  plan.height = height;
  plan.width = width;
  plan.in = in;
  plan.out = out;
  plan.element = element;
  plan.tf32 = tf32;
  const int pixels = batch * height * width;
  plan.forward = product_plan(pixels, out, 9 * in, false, 1);
  plan.weights = weight_gradient_plan(plan, gradient_rows(element == Element::float32 ? 4 : 2));
  for (const size_t size : {2, 4}) {
    const int64_t splits = weight_gradient_plan(plan, gradient_rows(size)).splits;
    if (splits > 1) plan.workspace = std::max(plan.workspace, splits * out * 9 * in);
  }
  return plan;
}

Status conv3x3_forward(const Conv3x3Plan& plan, const Conv3x3Pointers& p, void* stream) {
  const Patches patches = patches_of(plan, p.x);
  const Factor weights = rows_of(plan, p.w, plan.out, 9 * plan.in);
  bool vectors = true;
  for (const void* image :
       {p.addend, p.before, p.after, static_cast<const void*>(p.raw), static_cast<const void*>(p.y)}) {
    vectors = vectors && aligned(image, plan.out, plan.element);
  }
  const bool eights = in_eights(p.x, plan.in) && in_eights(p.w, plan.in);
  const auto config = launch_configuration(plan.forward.tiles, product_threads, stream);
  const cudaError_t error = for_element(plan.element, [&](auto element) {
    using T = decltype(element);
    if constexpr (sizeof(T) == 4) {
      if (!plan.tf32) {
        return cudaLaunchKernelEx(&config, &convolve<T, false>, patches, weights, plan, p, vectors, eights);
      }
    }
    return cudaLaunchKernelEx(&config, &convolve<T, true>, patches, weights, plan, p, vectors, eights);
  });
  return launch_status(error, "the convolution", problem("conv3x3_forward", plan));
}

Status conv3x3_weights(const Conv3x3Plan& plan, const void* x, const void* dy, float* dw, float* workspace,
                       void* stream) {
  const WeightGradientPlan& split = plan.weights;
  const int64_t count = int64_t{plan.out} * 9 * plan.in;
  float* sums = split.splits > 1 ? workspace : dw;
  const WeightGradient gradient{x,
                                dy,
                                sums,
                                plan.height,
                                plan.width,
                                plan.in,
                                plan.out,
                                split,
                                divisor_of(split.across),
                                divisor_of(split.down),
                                divisor_of(split.blocks),
                                divisor_of(split.blocks_in),
                                in_units(x, plan.in, plan.element),
                                in_units(dy, plan.out, plan.element),
                                plan.in % 2 == 0 && reinterpret_cast<uintptr_t>(sums) % 8 == 0};
  const char* what = "the gradient of the weights";
  auto config = launch_configuration(int64_t{split.blocks} * split.splits, gradient_threads, stream);
  cudaError_t error = for_factors(plan.element, plan.tf32, [&](auto element, auto tensor) {
    return cudaLaunchKernelEx(&config, &differentiate_weights<decltype(element), decltype(tensor)::value>, gradient);
  });
  if (error == cudaSuccess && split.splits > 1) {
    what = "the sum of its splits";
    config = launch_configuration(divide_up(count, gradient_sum_threads), gradient_sum_threads, stream);
    error = cudaLaunchKernelEx(&config, &add_gradients, static_cast<const float*>(sums), count, split.splits, dw);
  }
  return launch_status(error, what, problem("conv3x3_weights", plan));
}

}  // namespace spinecore::cuda
