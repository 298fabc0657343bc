// What the recurrence computes from images while it reads them.
#pragma once

#include "spinecore/recurrent_residual_conv_bn.h"
#include "winograd.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

// u = relu(scale * z + shift)
template <class T>
struct Activation {
  const T* z;
  const float *scale, *shift;

  template <class Access>
  SPINECORE_INLINE auto channel(int64_t c, Access access) const {
    return [from = z, access, a = access.get(scale + c), b = access.get(shift + c)](int64_t offset) {
      return relu(a * access.get(from + offset) + b);
    };
  }
};

// The map of one step as scale and shift of z, the same bits forward and backward: they decide the same signs.
SPINECORE_INLINE void affine_map(int64_t channels, const float* weight, const float* bias, const float* mean,
                                 const float* inverse_std, float* scale, float* shift) {
  each_vector(channels, [&](int64_t c, auto access) {
    const Vec a = access.get(weight + c) * access.get(inverse_std + c);
    access.put(scale + c, a);
    access.put(shift + c, access.get(bias + c) - a * access.get(mean + c));
  });
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
