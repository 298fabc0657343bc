// scSE gate (Roy, Navab, Wachinger 2018) on a GPU: two launches forward, two backward.
// csrc/include/spinecore/scse_gate.h has the formulas, scse_gate_reduce.cuh the first launch, scse_gate_apply.cuh the
// second.
#include <algorithm>
#include <string>

#include "scse_gate_apply.cuh"
#include "scse_gate_reduce.cuh"

namespace spinecore::cuda {
namespace {

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

Status answer(cudaError_t error, const char* what, const ScseGatePlan& p) {
  if (error == cudaSuccess) return {};
  return Status::internal(std::string("scse_gate_") + (p.backward ? "backward" : "forward") +
                          ": CUDA could not launch " + what + " for x with N, C, H * W = " + std::to_string(p.batch) +
                          ", " + std::to_string(p.channels) + ", " + std::to_string(p.pixels) + " (" +
                          element_name(p.element) + ", hidden width " + std::to_string(p.hidden) +
                          "): " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error));
}

cudaLaunchConfig_t configuration(int64_t blocks, void* stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(gate_threads);
  config.stream = static_cast<cudaStream_t>(stream);
  return config;
}

template <class T, bool aligned, bool backward>
cudaError_t launch_reduce(const GateArguments& a, void* stream) {
  const cudaLaunchConfig_t config = configuration(a.plan.batch * a.plan.chunks, stream);
  if (!a.plan.channels_last) return cudaLaunchKernelEx(&config, &reduce_contiguous<T, aligned, backward>, a);
  // Registers for 8 channels a thread serve 256 channels; for 32 all of them, but only where rows are aligned.
  if (a.plan.channels <= 256) return cudaLaunchKernelEx(&config, &reduce_channels_last<T, aligned, 8, backward>, a);
  if constexpr (aligned) return cudaLaunchKernelEx(&config, &reduce_channels_last<T, aligned, 32, backward>, a);
  return cudaErrorInvalidValue;  // scse_gate_entry.cpp admits no such call
}

template <class T, int width, bool backward>
cudaError_t launch_apply(const GateArguments& a, void* stream) {
  const ScseGatePlan& p = a.plan;
  ApplyShape shape{};
  shape.vectors = (p.channels_last ? p.channels : p.pixels) / width;
  shape.rows = p.channels_last ? p.pixels : p.channels;
  shape.across = 1;
  while (shape.across < gate_threads && shape.across < shape.vectors) shape.across *= 2;
  shape.columns = (shape.vectors + shape.across - 1) / shape.across;
  shape.row_tiles = (shape.rows + shape.rows_a_block() - 1) / shape.rows_a_block();
  int64_t extra = 0;
  if (backward) {
    const int64_t parameters = 2ll * p.channels * p.hidden + p.hidden + 2ll * p.channels + 1;
    extra = (parameters + gate_threads - 1) / gate_threads;
  }
  const cudaLaunchConfig_t config = configuration(p.batch * shape.columns * shape.row_tiles + extra, stream);
  return cudaLaunchKernelEx(&config, &apply_gates<T, width, backward>, a, shape);
}

template <class T, bool backward>
Status run(const GateArguments& a, void* stream) {
  const int row = a.plan.channels_last ? a.plan.channels : a.plan.pixels;
  const auto at_16_bytes = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  const bool aligned = row % width_of<T> == 0 && at_16_bytes(a.x) && at_16_bytes(a.result) &&
                       at_16_bytes(a.channel_gate) && at_16_bytes(a.spatial_gate) &&
                       (!backward || (at_16_bytes(a.dy) && at_16_bytes(a.parameters.ws)));
  const auto tickets = sizeof(unsigned) * static_cast<size_t>(a.plan.batch * (a.plan.groups + 1));
  const char* what = "the reset of its tickets";
  cudaError_t error = cudaMemsetAsync(a.workspace, 0, tickets, static_cast<cudaStream_t>(stream));
  if (error == cudaSuccess) {
    what = "its sums";
    error = aligned ? launch_reduce<T, true, backward>(a, stream) : launch_reduce<T, false, backward>(a, stream);
  }
  if (error == cudaSuccess) {
    what = "its gates";
    error = aligned ? launch_apply<T, width_of<T>, backward>(a, stream) : launch_apply<T, 1, backward>(a, stream);
  }
  return answer(error, what, a.plan);
}

template <bool backward>
Status run(const GateArguments& a, void* stream) {
  switch (a.plan.element) {
    case Element::float32:
      return run<float, backward>(a, stream);
    case Element::bfloat16:
      return run<__nv_bfloat16, backward>(a, stream);
    case Element::float16:
      return run<__half, backward>(a, stream);
  }
  return Status::internal("scse_gate: unknown element type");
}

}  // namespace

ScseGatePlan scse_gate_plan(int64_t batch, int channels, int pixels, int hidden, bool channels_last, Element element,
                            bool backward) {
  ScseGatePlan plan;
  plan.batch = batch;
  plan.channels = channels;
  plan.pixels = pixels;
  plan.hidden = hidden;
  plan.channels_last = channels_last;
  plan.element = element;
  plan.backward = backward;
  // About 512 blocks fill the largest GPUs once (132 multiprocessors with four each). A run of NCHW is 8 x 16 bytes;
  // channels-last, a block reads at least 64 pixels.
  const int run = channels_last ? 64 : element == Element::float32 ? 32 : 64;
  const int64_t runs = (pixels + run - 1) / run, wanted = std::max<int64_t>(1, 512 / std::max<int64_t>(batch, 1));
  const int64_t runs_a_chunk = (runs + wanted - 1) / wanted;
  plan.chunk_pixels = static_cast<int>(run * runs_a_chunk);
  plan.chunks = static_cast<int>((runs + runs_a_chunk - 1) / runs_a_chunk);
  plan.groups = (plan.chunks + scse_gate_group_chunks - 1) / scse_gate_group_chunks;
  plan.sums_at = round_up(batch * (plan.groups + 1), 4);
  const int64_t sums = batch * plan.chunks * (backward ? 2 * channels + 1 : channels);
  plan.d_spatial_at = plan.sums_at + round_up(sums, 4);
  plan.samples_at = plan.d_spatial_at + (backward ? round_up(batch * pixels, 4) : 0);
  plan.workspace = plan.samples_at + (backward ? batch * GateArguments::sample_size(plan) : 0);
  return plan;
}

Status scse_gate_forward(const ScseGatePlan& plan, GateMode mode, const ScseGateForwardPointers& p, void* stream) {
  GateArguments a{};
  a.plan = plan;
  a.max_mode = mode == GateMode::max;
  a.parameters = p.parameters;
  a.bs = p.bs;
  a.x = p.x;
  a.result = p.y;
  a.channel_gate = p.channel_gate;
  a.spatial_gate = p.spatial_gate;
  a.pooled = p.pooled;
  a.workspace = p.workspace;
  return run<false>(a, stream);
}

Status scse_gate_backward(const ScseGatePlan& plan, GateMode mode, const ScseGateBackwardPointers& p, void* stream) {
  GateArguments a{};
  a.plan = plan;
  a.max_mode = mode == GateMode::max;
  a.parameters = p.parameters;
  a.x = p.x;
  a.dy = p.dy;
  a.result = p.dx;
  a.channel_gate = const_cast<float*>(p.channel_gate);  // the backward only reads them
  a.spatial_gate = const_cast<float*>(p.spatial_gate);
  a.pooled = const_cast<float*>(p.pooled);
  a.dw1 = p.dw1;
  a.db1 = p.db1;
  a.dw2 = p.dw2;
  a.db2 = p.db2;
  a.dws = p.dws;
  a.dbs = p.dbs;
  a.workspace = p.workspace;
  return run<true>(a, stream);
}

}  // namespace spinecore::cuda
