// Checks the arguments of the convolution for inference and hands them to the kernel of the selected instruction set.
#include "spinecore/fused_conv.h"

#include "spinecore/entry_checks.h"
#include "spinecore/isa_kernels.h"

namespace spinecore {

SPINECORE_ISA_KERNELS(FusedConvKernels, fused_conv_kernels)

namespace {

constexpr const char* name = "fused_conv";
constexpr size_t most_inputs = 16, most_addends = 4;

Status complain(const TensorView& view, const std::string& what) {
  return Status::wrong_value(std::string(name) + ": argument '" + view.name + "' " + what);
}

// A channels-last image or a slice of the channels of one, apart from what is written.
Status take(const TensorView& view, const TensorView& written, Pixels* pixels) {
  int64_t step = 0;
  Status status = first_complaint({check_channels_slice(name, view, &step), check_apart(name, written, view)});
  if (status.ok() && view.dtype != DType::float32) {
    return Status::wrong_type(std::string(name) + ": argument '" + view.name + "' is not float32");
  }
  if (status.ok()) *pixels = {view.floats(), view.shape[2], view.shape[3], view.shape[1], step};
  return status;
}

}  // namespace

int64_t fused_conv_weights_size(int64_t depth, int64_t out) {
  const int64_t lanes = fused_conv_kernels().lanes;
  return depth * ((out + lanes - 1) / lanes * lanes);
}

Status fused_conv_pack(const TensorView& w, const TensorView& to) {
  const char* op = "fused_conv_pack";
  if (!isa_environment_status().ok()) return isa_environment_status();
  if (w.dims != 2) return Status::wrong_value(std::string(op) + ": argument 'w' has not two dimensions (out, depth)");
  const int64_t out = w.shape[0], depth = w.shape[1];
  Status status =
      first_complaint({check_float32(op, w, {out, depth}), check_float32(op, to, {fused_conv_weights_size(depth, out)}),
                       check_apart(op, to, w)});
  if (status.ok()) fused_conv_kernels().pack({w.floats(), depth, out, to.floats()});
  return status;
}

Status fused_conv_forward(const FusedConvViews& v, int64_t kernel, int64_t stride, int64_t dilation,
                          int64_t activation) {
  Status status = first_complaint({isa_environment_status(), check_channels_last(name, v.y)});
  if (!status.ok()) return status;
  if (kernel < 1 || kernel > 7 || kernel % 2 == 0 || stride < 1 || dilation < 1 || activation < 0 || activation > 2) {
    return Status::wrong_value(std::string(name) +
                               ": kernel must be 1, 3, 5 or 7, stride and dilation at least 1, activation "
                               "0 (none), 1 (relu) or 2 (gate)");
  }
  if (v.inputs.empty() || v.inputs.size() > most_inputs || v.addends.size() > most_addends) {
    return Status::wrong_value(std::string(name) + ": takes 1 to 16 inputs and 0 to 4 addends");
  }
  if (v.y.dtype != DType::float32) return Status::wrong_type(std::string(name) + ": argument 'y' is not float32");
  const int64_t n = v.y.shape[0], out = v.y.shape[1], out_height = v.y.shape[2], out_width = v.y.shape[3];
  Pixels inputs[most_inputs], addends[most_addends];
  int64_t in = 0;
  for (size_t i = 0; i < v.inputs.size(); ++i) {
    const TensorView& x = v.inputs[i];
    status = take(x, v.y, &inputs[i]);
    if (!status.ok()) return status;
    if (x.shape[0] != n || inputs[i].height != inputs[0].height || inputs[i].width != inputs[0].width) {
      return complain(x, "differs from the others in samples, height or width");
    }
    in += inputs[i].channels;
  }
  // (size + 2 pad - reach) / stride + 1 with pad = dilation * (k / 2): k is odd.
  const auto resized = [&](int64_t size) { return size == 0 ? 0 : (size - 1) / stride + 1; };
  if (out_height != resized(inputs[0].height) || out_width != resized(inputs[0].width)) {
    return complain(v.y, "has not the height and width that the stride gives");
  }
  for (size_t j = 0; j < v.addends.size(); ++j) {
    const TensorView& x = v.addends[j];
    status = take(x, v.y, &addends[j]);
    if (!status.ok()) return status;
    if (x.shape[0] != n || x.shape[1] != out || addends[j].height < 1 || addends[j].width < 1) {
      return complain(x, "must have the samples and channels of y, and at least one pixel");
    }
  }
  status = first_complaint({
      check_float32(name, v.weights, {fused_conv_weights_size(kernel * kernel * in, out)}),
      v.bias.numel() ? check_float32(name, v.bias, {out}) : Status{},
      v.gate.numel() ? check_channels_last(name, v.gate) : Status{},
      v.gate.numel() ? check_like(name, v.gate, v.y) : Status{},
      check_apart_all(name, {&v.y}, {&v.weights, &v.bias, &v.gate}),
  });
  if (!status.ok()) return status;
  if (activation == 2 && v.gate.numel() != v.y.numel()) return complain(v.gate, "is missing");
  int no_memory = 0;
  const FusedConv arguments{
      inputs,
      static_cast<int64_t>(v.inputs.size()),
      addends,
      static_cast<int64_t>(v.addends.size()),
      n,
      kernel,
      stride,
      dilation,
      in,
      out,
      out_height,
      out_width,
      static_cast<FusedActivation>(activation),
      v.weights.floats(),
      v.bias.numel() ? v.bias.floats() : nullptr,
      v.gate.numel() ? v.gate.floats() : nullptr,
      v.y.floats(),
      &no_memory,
  };
  if (v.y.numel() > 0 && !fused_conv_kernels().run(arguments)) return thread_failure(name);
  if (no_memory) return Status::internal(std::string(name) + ": not enough memory to work in");
  return {};
}

}  // namespace spinecore
