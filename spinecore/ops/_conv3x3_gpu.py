"""What the GPU implementations of the 3x3 convolutions share: forward, backward and the recurrences, given a
convolution with its epilogue and a weight gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spinecore.backends import Call, Kernel, Verdict
from spinecore.ops import _device
from spinecore.ops._recurrence import Normalisation, at_step, channels_last, fold_steps, recurrence_backward
from spinecore.ops._shared import accumulation_dtype, output_format

_DTYPES = (torch.float32, *_device.HALVES)
_YES = Verdict(True, "implicit product, channels-last inside, epilogue fused; halves on tensor cores")


def can_run(call: Call) -> Verdict:
    """float32, bfloat16 and float16; ``options`` are the channels after it, or the kernel's size (3)."""
    if call.dtype not in _DTYPES:
        name = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the kernel computes float32, bfloat16 and float16, not {name}")
    if 0 in call.shape:
        return Verdict(False, "x has no elements, there is nothing to launch")
    name, value = call.options[0]
    if name == "kernel_size" and value != 3:
        return Verdict(False, f"kernels of {value}x{value}; ours are 3x3")
    batch, channels, height, width = call.shape
    wide = max(channels, value if name == "out_channels" else channels)
    if batch * height * width >= 2**31 - 64 or wide >= 2**16:
        return Verdict(False, "2^31 pixels or 2^16 channels or more; split x")
    return _YES


class Epilogue(NamedTuple):
    """raw = conv + addend; y = activation(scale raw + shift + before) + after. None is left out."""

    scale: Tensor | None = None
    shift: Tensor | None = None
    addend: Tensor | None = None
    before: Tensor | None = None
    after: Tensor | None = None
    relu: bool = False


def packed(w: Tensor) -> Tensor:
    """(out, 9, in) of (out, in, 3, 3)."""
    return w.permute(0, 2, 3, 1).flatten(1, 2).contiguous()


def turned(w: Tensor) -> Tensor:
    """The weights of the data gradient, packed: (in, 9, out)."""
    return packed(w.flip((2, 3)).transpose(0, 1))


class Convolution(NamedTuple):
    """``run(x, packed weights, epilogue, raw, y)`` gives raw and y, each where it is wanted, else None;
    ``weights(x, dy)`` gives dw (out, 9, in) in float32. Images are channels-last.
    """

    run: Callable[[Tensor, Tensor, Epilogue, bool, bool], tuple[Tensor | None, Tensor | None]]
    weights: Callable[[Tensor, Tensor], Tensor]

    def activated(self, x: Tensor, w: Tensor, epilogue: Epilogue) -> Tensor:
        """Y alone."""
        y = self.run(x, w, epilogue, False, True)[1]
        assert y is not None
        return y

    def raw(self, x: Tensor, w: Tensor, addend: Tensor | None = None) -> Tensor:
        """The convolution alone."""
        raw = self.run(x, w, Epilogue(addend=addend), True, False)[0]
        assert raw is not None
        return raw

    def gradients(self, grad: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Of x and of w."""
        grad, x = channels_last(grad), channels_last(x)
        return self.raw(grad, turned(w)), self.weight_gradient(grad, x, w)

    def weight_gradient(self, grad: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Of w, in its shape and dtype."""
        out, channels = w.shape[:2]
        dw = self.weights(x, grad).view(out, 3, 3, channels).permute(0, 3, 1, 2)
        return dw.to(w.dtype).contiguous()


def conv3x3(convolution: Convolution) -> tuple[Kernel, Kernel]:
    """Forward and backward of the operator ``conv3x3``."""

    def forward(
        x: Tensor, w: Tensor, bias: Tensor | None, activation: str, residual: Tensor | None
    ) -> Tensor:
        epilogue = Epilogue(
            shift=None if bias is None else _device.float32(bias),
            before=None if residual is None else channels_last(residual),
            relu=activation == "relu",
        )
        y = convolution.activated(channels_last(x), packed(w), epilogue)
        return y.contiguous(memory_format=output_format(x))

    def backward(
        x: Tensor, dy: Tensor, w: Tensor, y: Tensor | None, need_dx: bool, need_residual: bool
    ) -> tuple[Tensor, ...]:
        """dx, dw, dbias, dresidual; the mask of the activation and the bias's sum are torch's."""
        layout, none = output_format(x), x.new_empty(0)
        grad = channels_last(dy if y is None else torch.ops.aten.threshold_backward(dy, y, 0))
        db = grad.sum((0, 2, 3), dtype=torch.float32)
        dx = convolution.raw(grad, turned(w)).contiguous(memory_format=layout) if need_dx else none
        dw = convolution.weight_gradient(grad, channels_last(x), w)
        dr = none.clone()
        if need_residual:
            dr = torch.empty_like(grad, memory_format=layout).copy_(grad)
        return dx, dw, db, dr

    return Kernel(forward, can_run), Kernel(backward, can_run)


def recurrent(convolution: Convolution) -> tuple[Kernel, Kernel]:
    """Forward and backward of ``recurrent_residual_conv``: one launch a step."""

    def forward(
        x: Tensor, w_in: Tensor, w_rec: Tensor, scale: Tensor, shift: Tensor, steps: int, residual: bool
    ) -> Tensor:
        image, weights = channels_last(x), packed(w_in)
        scale, shift = _device.float32(scale), _device.float32(shift)

        def epilogue(step: int, addend: Tensor | None) -> Epilogue:
            after = image if residual and step == steps else None
            return Epilogue(at_step(scale, step), at_step(shift, step), addend, None, after, True)

        first, u = convolution.run(image, weights, epilogue(0, None), steps > 0, True)
        recurrent_weights = weights if w_rec is w_in else packed(w_rec)
        for step in range(1, steps + 1):
            assert u is not None
            u = convolution.activated(u, recurrent_weights, epilogue(step, first))
        assert u is not None
        return u.contiguous(memory_format=output_format(x))

    def backward(
        x: Tensor,
        dy: Tensor,
        w_in: Tensor,
        w_rec: Tensor,
        scale: Tensor,
        shift: Tensor,
        steps: int,
        residual: bool,
    ) -> tuple[Tensor, ...]:
        """The intermediates are computed again; activations and their gradients are torch's."""
        dtype = accumulation_dtype(x.dtype)
        wide, offset = scale.to(dtype), shift.to(dtype)
        norms = [Normalisation(at_step(wide, k), at_step(offset, k), None, None) for k in range(steps + 1)]
        z = [convolution.raw(channels_last(x), packed(w_in))]
        for norm in norms[:-1]:
            z.append(convolution.raw(channels_last(norm.activate(z[-1])), packed(w_rec), z[0]))
        dx, dw_in, dw_rec, d_scale, d_shift = recurrence_backward(
            x, dy, w_in, w_rec, z, norms, 0.0, residual, convolution.gradients
        )
        return dx, dw_in, dw_rec, fold_steps(d_scale, scale), fold_steps(d_shift, shift)

    return Kernel(forward, can_run), Kernel(backward, can_run)


def recurrent_bn(convolution: Convolution) -> tuple[Kernel, Kernel]:
    """Forward and backward of ``recurrent_residual_conv_bn``; the normalisation is torch's."""

    def forward(
        x: Tensor,
        w_in: Tensor,
        w_rec: Tensor,
        gamma: Tensor,
        beta: Tensor,
        eps: float,
        steps: int,
        residual: bool,
    ) -> tuple[Any, ...]:
        dtype = accumulation_dtype(x.dtype)
        image, gamma, beta = channels_last(x), gamma.to(dtype), beta.to(dtype)
        mean = torch.empty((steps + 1, x.shape[1]), dtype=dtype, device=x.device)
        inverse = torch.empty_like(mean)
        z: list[Tensor] = []
        u, first, weights = image, None, packed(w_in)
        for step in range(steps + 1):
            z.append(convolution.raw(channels_last(u), weights, first))
            first, weights = z[0], packed(w_rec) if step == 0 and steps else weights
            after, mean[step], inverse[step] = torch.native_batch_norm(
                z[-1], at_step(gamma, step), at_step(beta, step), None, None, True, 0.0, eps
            )
            u = after.relu_()
        variance = (inverse.double().pow(-2) - eps).clamp_min(0).to(dtype)
        y = u.add_(image) if residual else u
        return y.contiguous(memory_format=output_format(x)), mean, variance, inverse, z

    def backward(
        x: Tensor,
        dy: Tensor,
        w_in: Tensor,
        w_rec: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        inverse: Tensor,
        z: list[Tensor],
        eps: float,
        residual: bool,
    ) -> tuple[Tensor, ...]:
        weight, bias = gamma.to(mean.dtype), beta.to(mean.dtype)
        norms = [
            Normalisation(at_step(weight, k), at_step(bias, k), mean[k], inverse[k])
            for k in range(mean.shape[0])
        ]
        dx, dw_in, dw_rec, d_gamma, d_beta = recurrence_backward(
            x, dy, w_in, w_rec, z, norms, eps, residual, convolution.gradients
        )
        return dx, dw_in, dw_rec, fold_steps(d_gamma, gamma), fold_steps(d_beta, beta)

    return Kernel(forward, can_run), Kernel(backward, can_run)
