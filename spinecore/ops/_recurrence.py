"""The recurrence both forms of the recurrent residual convolution share, forward and backward.

    d = conv(x, w_in);  z_0 = d;  u_k = relu(norm_k(z_k));  z_k = d + conv(u_{k-1}, w_rec);  y = x + u_steps

``norm_k`` is an affine map (inference, batch norm folded) or batch normalisation with the batch's own
statistics (training). The pre-activations z_0..z_steps are kept, channels-last; the activations
u_0..u_steps cost one pass each and are computed again where the backward needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore.ops._shared import (
    accumulation_dtype,
    check_image,
    check_parameter_dtype,
    check_shape,
    fail,
    fail_dtype,
    output_format,
)


class Normalisation(NamedTuple):
    """One step's map. ``mean`` is None for a plain affine map; else the batch statistics (C,) in the
    accumulation dtype.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor | None
    inverse_std: Tensor | None

    def activate(self, z: Tensor) -> Tensor:
        """relu(norm(z)), with the roundings of torch's batch normalisation."""
        if self.mean is None or self.inverse_std is None:
            return affine(z, self.weight, self.bias).relu_()
        scale = self.inverse_std * self.weight
        return affine(z, scale, self.bias - self.mean * scale).relu_()


def check_recurrence(
    op: str,
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    first: Tensor,
    second: Tensor,
    names: tuple[str, str],
    steps: int,
) -> None:
    """The shape and dtype rules of the recurrence; ``names`` are those of the two per-channel parameters."""
    check_image(op, x)
    channels = x.shape[1]
    if steps < 0:
        fail(op, "steps", str(steps), "an integer >= 0", "0 is a single residual convolution.")
    for name, weight in (("w_in", w_in), ("w_rec", w_rec)):
        square = weight.dim() == 4 and weight.shape[2] == weight.shape[3] and weight.shape[2] % 2 == 1
        if not square or tuple(weight.shape[:2]) != (channels, channels):
            shape, remedy = (
                f"of shape {tuple(weight.shape)}",
                "Change the channel count with a 1x1 convolution before.",
            )
            fail(op, name, shape, f"(C, C, k, k) with C = {channels} and k odd", remedy)
        if weight.dtype is not x.dtype:
            fail_dtype(
                op,
                name,
                weight.dtype,
                f"{x.dtype} (as x)",
                f"Convert {name} with .to(x.dtype), or use autocast.",
            )
    check_shape(op, "w_rec", w_rec, tuple(w_in.shape), "the shape of w_in")
    for name, value in zip(names, (first, second), strict=True):
        shapes = ((channels,), (steps + 1, channels))
        if tuple(value.shape) not in shapes:
            fail(
                op,
                name,
                f"of shape {tuple(value.shape)}",
                f"(C,) = {shapes[0]} or (steps+1, C) = {shapes[1]}",
                f"Reshape {name}.",
            )
        check_parameter_dtype(op, name, value, x)


def at_step(parameter: Tensor, step: int) -> Tensor:
    """The (C,) row of a per-step parameter, or the shared one."""
    # Contiguous: torch's backward of the batch norm of channels-last images ignores the stride of the weight.
    return (parameter[step] if parameter.dim() == 2 else parameter).contiguous()


def channels_last(x: Tensor) -> Tensor:
    """The layout the recurrence computes in."""
    return x.contiguous(memory_format=torch.channels_last)


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution that keeps height and width."""
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def convolution_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, need_dx: bool = True
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`convolve`: of x (undefined without ``need_dx``) and of the weight."""
    padding = [weight.shape[-1] // 2] * 2
    dx, dw, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, [need_dx, True, False]
    )
    return dx, dw


def unit_statistics(channels: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean 0 and variance 1: with them torch's fused batch-norm kernels compute a plain affine map in one
    pass.
    """
    return like.new_zeros(channels), like.new_ones(channels)


def affine(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``scale * z + shift`` per channel."""
    mean, variance = unit_statistics(z.shape[1], scale)
    return torch.batch_norm(z, scale, shift, mean, variance, False, 0.0, 0.0, False)


Gradients = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def preactivations(x: Tensor, w_in: Tensor, w_rec: Tensor, norms: list[Normalisation]) -> list[Tensor]:
    """Pre-activations z_0..z_steps under affine maps."""
    z: list[Tensor] = [convolve(x, w_in)]
    for norm in norms[:-1]:
        z.append(convolve(norm.activate(z[-1]), w_rec).add_(z[0]))
    return z


def recurrence_backward(
    x: Tensor,
    dy: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    z: list[Tensor],
    norms: list[Normalisation],
    eps: float,
    residual: bool,
    gradients: Gradients = convolution_gradients,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dx, dw_in, dw_rec and the per-step gradients (steps+1, C) of the normalisation's weight and bias.
    ``gradients`` are those of the convolution, of its data and of its weight.
    """
    channels = x.shape[1]
    dtype = accumulation_dtype(x.dtype)
    layout = output_format(x)
    x, dy = channels_last(x), channels_last(dy)
    d_weight = torch.empty((len(norms), channels), dtype=dtype, device=x.device)
    d_bias = torch.empty_like(d_weight)
    dw_rec: Tensor | None = None
    dd: Tensor | None = None
    du = dy
    grad = torch.empty_like(dy)
    u = norms[-1].activate(z[-1])
    for step in range(len(norms) - 1, -1, -1):
        norm = norms[step]
        # One buffer for all steps: fresh feature maps cost page faults, which took a fifth of the time.
        torch.ops.aten.threshold_backward.grad_input(du, u, 0, grad_input=grad)
        mean, variance = (None, None) if norm.mean is not None else unit_statistics(channels, norm.weight)
        dz, d_weight_step, d_bias_step = torch.ops.aten.native_batch_norm_backward(
            grad,
            z[step],
            norm.weight,
            mean,
            variance,
            norm.mean,
            norm.inverse_std,
            norm.mean is not None,
            eps if norm.mean is not None else 0.0,
            [True, True, True],
        )
        d_weight[step], d_bias[step] = d_weight_step, d_bias_step
        dd = dz if dd is None else dd.add_(dz)
        if step:
            u = norms[step - 1].activate(z[step - 1])
            du, dw = gradients(dz, u, w_rec)
            dw_rec = dw if dw_rec is None else dw_rec.add_(dw)
    assert dd is not None
    dx, dw_in = gradients(dd, x, w_in)
    if residual:
        dx = dx.add_(dy)
    if dw_rec is None:
        dw_rec = torch.zeros_like(w_rec)
    return dx.contiguous(memory_format=layout), dw_in.contiguous(), dw_rec.contiguous(), d_weight, d_bias


def fold_steps(gradient: Tensor, parameter: Tensor) -> Tensor:
    """A per-step gradient (steps+1, C) in the shape of its parameter: summed over the steps where they share
    it.
    """
    return gradient if parameter.dim() == 2 else gradient.sum(0)
