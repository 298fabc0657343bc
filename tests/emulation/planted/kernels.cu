// Kernels with one planted mistake each, and their right forms. A test tool that does not find them proves nothing.
#include "kernels.h"

#include <cuda_runtime.h>

#include <string>

#include "device_extras.cuh"

namespace planted {

__global__ void out_of_bounds(float* out, const float* in, bool wrong) {
  const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
  out[at] = in[at + (wrong ? 1 : 0)];  // one element too far, in the last block
}

__global__ void shared_out_of_bounds(float* out, const float* in, bool wrong) {
  __shared__ float values[64];
  values[threadIdx.x + (wrong ? 1 : 0)] = in[threadIdx.x];
  __syncthreads();
  out[blockIdx.x * 64 + threadIdx.x] = values[threadIdx.x];
}

__global__ void missing_barrier(float* out, const float* in, bool wrong) {
  __shared__ float values[64];
  values[threadIdx.x] = in[threadIdx.x];
  if (!wrong) __syncthreads();
  out[blockIdx.x * 64 + threadIdx.x] = values[63 - threadIdx.x];
}

__global__ void missing_warp_barrier(float* out, const float* in, bool wrong) {
  __shared__ float values[64];
  values[threadIdx.x] = in[threadIdx.x];
  if (!wrong) __syncwarp();
  out[blockIdx.x * 64 + threadIdx.x] = values[threadIdx.x ^ 1];
}

__global__ void divergent_barrier(float* out, const float* in, bool wrong) {
  if (!wrong || threadIdx.x < 40) {
    out[blockIdx.x * 64 + threadIdx.x] = in[threadIdx.x];
    __syncthreads();
  } else {
    out[blockIdx.x * 64 + threadIdx.x] = 2.0f * in[threadIdx.x];
    __syncthreads();
  }
}

// Threads 40 to 63 wait for lanes that wait for them.
__global__ void skipped_barrier(float* out, const float* in, bool wrong) {
  if (!wrong || threadIdx.x < 40) {
    __syncthreads();
    out[blockIdx.x * 64 + threadIdx.x] = in[threadIdx.x];
  }
  if (wrong) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, in[threadIdx.x], 1);
  if (wrong && threadIdx.x < 40) __syncthreads();
}

__global__ void wrong_mask(float* out, const float* in, bool wrong) {
  const unsigned at = blockIdx.x * 64 + threadIdx.x;
  if (threadIdx.x % 32 < 16) {
    out[at] = __shfl_xor_sync(wrong ? 0xffffffffu : 0xffffu, in[threadIdx.x], 1);  // half of the warp never comes
  } else {
    out[at] = 0.0f;
  }
}

__global__ void missing_wait(float* out, const float* in, bool wrong) {
  __shared__ float values[64];
  values[threadIdx.x] = -7.0f;
  __syncthreads();
  copy_async(&values[threadIdx.x], in + threadIdx.x);
  commit_async();
  if (!wrong) wait_async();
  __syncthreads();
  out[blockIdx.x * 64 + threadIdx.x] = values[63 - threadIdx.x];
}

__global__ void race_between_blocks(float* out, const float*, bool wrong) {
  if (threadIdx.x != 0) return;
  if (wrong) {
    out[0] += 1.0f;
  } else {
    atomicAdd(out, 1.0f);
  }
}

__device__ unsigned* tickets_of(float* out) { return reinterpret_cast<unsigned*>(out) + 64 * blocks; }

// The last block adds what the others left; without the fences it may not see it.
__global__ void missing_fence(float* out, const float* in, bool wrong) {
  if (threadIdx.x != 0) return;
  out[blockIdx.x] = in[blockIdx.x];
  if (!wrong) __threadfence();
  const unsigned before = atomicAdd(tickets_of(out), 1u);
  if (!wrong) __threadfence();
  if (before != gridDim.x - 1) return;
  float sum = 0.0f;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += out[i];
  out[0] = sum;
}

// Which values it reads depends on what ran here before.
__global__ void uninitialised_shared(float* out, const float* in, bool wrong) {
  float* values = dynamic_floats();
  if (!wrong || threadIdx.x < 60) values[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[blockIdx.x * 64 + threadIdx.x] = values[63 - threadIdx.x];
}

int launch(const char* name, float* out, const float* in, bool wrong) {
  const struct {
    const char* name;
    void (*kernel)(float*, const float*, bool);
  } all[] = {
      {"out_of_bounds", &out_of_bounds},
      {"shared_out_of_bounds", &shared_out_of_bounds},
      {"missing_barrier", &missing_barrier},
      {"missing_warp_barrier", &missing_warp_barrier},
      {"divergent_barrier", &divergent_barrier},
      {"skipped_barrier", &skipped_barrier},
      {"wrong_mask", &wrong_mask},
      {"missing_wait", &missing_wait},
      {"race_between_blocks", &race_between_blocks},
      {"missing_fence", &missing_fence},
      {"uninitialised_shared", &uninitialised_shared},
  };
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(64);
  config.dynamicSmemBytes = std::string(name) == "uninitialised_shared" ? 64 * sizeof(float) : 0;
  for (const auto& entry : all) {
    if (std::string(entry.name) == name) return cudaLaunchKernelEx(&config, entry.kernel, out, in, wrong);
  }
  return -1;
}

}  // namespace planted
