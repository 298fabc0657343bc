// Launching kernels: the configuration, and a refusal in words.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "spinecore/cuda/element.h"
#include "spinecore/status.h"

namespace spinecore::cuda {

constexpr int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }
constexpr int64_t divide_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

inline cudaLaunchConfig_t launch_configuration(int64_t blocks, int threads, void* stream, size_t dynamic_shared = 0) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = dynamic_shared;
  config.stream = static_cast<cudaStream_t>(stream);
  return config;
}

// `what` was launched for `problem`, the operator with its sizes.
inline Status launch_status(cudaError_t error, const char* what, const std::string& problem) {
  if (error == cudaSuccess) return {};
  return Status::internal(problem + ": CUDA could not launch " + what + ": " + cudaGetErrorName(error) + ", " +
                          cudaGetErrorString(error));
}

// run_it(a value of the element's type).
template <class Run>
cudaError_t for_element(Element element, const Run& run_it) {
  switch (element) {
    case Element::float32:
      return run_it(float{});
    case Element::bfloat16:
      return run_it(__nv_bfloat16{});
    case Element::float16:
      return run_it(__half{});
  }
  return cudaErrorInvalidValue;
}

// run_it(the same, whether tensor cores multiply float32 in tf32).
template <class Run>
cudaError_t for_factors(Element element, bool tf32, const Run& run_it) {
  if (element == Element::float32 && tf32) return run_it(float{}, std::true_type{});
  return for_element(element, [&](auto value) { return run_it(value, std::false_type{}); });
}

}  // namespace spinecore::cuda
