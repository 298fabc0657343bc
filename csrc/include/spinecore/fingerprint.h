// 64 bits that change when the bytes of some tensors do: whether weights are still those that something was made from.
#pragma once

#include <cstdint>
#include <vector>

#include "spinecore/status.h"
#include "spinecore/tensor_view.h"

namespace spinecore {

// Of shape, strides and bytes of dense float32 tensors, in their order.
Status fingerprint(const std::vector<TensorView>& tensors, uint64_t* result);

}  // namespace spinecore
