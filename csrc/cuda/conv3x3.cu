// Launches of the 3x3 convolution; conv3x3.cuh has the kernels.
#include "conv3x3.cuh"

#include <string>

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
  plan.weights = product_plan(out, 9 * in, pixels, false);
  plan.workspace = plan.weights.workspace;
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
  const Patches patches = patches_of(plan, x);
  const Factor gradient = rows_of(plan, dy, patches.rows, plan.out);
  const ProductPlan& product = plan.weights;
  const char* what = "the reset of its tickets";
  cudaError_t error = cudaSuccess;
  if (product.tickets > 0) {
    const auto tickets = sizeof(unsigned) * static_cast<size_t>(product.tiles);
    error = cudaMemsetAsync(workspace, 0, tickets, static_cast<cudaStream_t>(stream));
  }
  if (error == cudaSuccess) {
    what = "the gradient of the weights";
    const bool vectors = aligned(dw, product.n, Element::float32);
    const bool eights = in_eights(dy, plan.out) && in_eights(x, plan.in);
    const auto config = launch_configuration(int64_t{product.tiles} * product.splits, product_threads, stream);
    error = for_element(plan.element, [&](auto element) {
      using T = decltype(element);
      if constexpr (sizeof(T) == 4) {
        if (!plan.tf32) {
          return cudaLaunchKernelEx(&config, &differentiate_weights<T, false>, gradient, patches, plan, dw, vectors,
                                    eights, workspace);
        }
      }
      return cudaLaunchKernelEx(&config, &differentiate_weights<T, true>, gradient, patches, plan, dw, vectors, eights,
                                workspace);
    });
  }
  return launch_status(error, what, problem("conv3x3_weights", plan));
}

}  // namespace spinecore::cuda
