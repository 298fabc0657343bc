// 64 bits that change when the bytes of some tensors do: whether weights are still those that something was made from.
#pragma once

#include <cstdint>
#include <vector>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

// Of shape, strides and bytes of dense float32 tensors, in their order. `sampled`: of shape, strides, address and about
// one byte in 32, spread over the whole tensor.
Status fingerprint(const std::vector<TensorView>& tensors, bool sampled, uint64_t* result);

}  // namespace spinecore
