"""What the operators share: layouts, accumulation dtypes and the wording of shape errors."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Sums and statistics of half-precision tensors are kept in float32."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def output_format(x: Tensor) -> torch.memory_format:
    """Outputs keep the layout of a dense NCHW or channels-last input; any other stride pattern gives NCHW."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def empty_image(x: Tensor, channels: int | None = None) -> Tensor:
    """Memory for a result (N, channels, H, W) of ``x`` (N, C, H, W): its dtype, its device, its layout."""
    shape = (x.shape[0], x.shape[1] if channels is None else channels, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=output_format(x))


def empty_gradient(x: Tensor, needed: bool) -> Tensor:
    """Memory for the gradient of ``x``; without elements where it is not needed."""
    return empty_image(x) if needed else x.new_empty(0)


def fail(op: str, argument: str, got: str, expected: str, remedy: str) -> NoReturn:
    """Raise a ``ValueError`` that names the argument, its value, what was expected and the remedy."""
    raise ValueError(f"{op}: {argument} is {got}; expected {expected}. {remedy}")


def fail_dtype(op: str, argument: str, got: torch.dtype, expected: str, remedy: str) -> NoReturn:
    """Raise a ``TypeError`` for a dtype, worded like :func:`fail`."""
    raise TypeError(f"{op}: {argument} has dtype {got}; expected {expected}. {remedy}")


def check_strided(op: str, argument: str, x: Tensor) -> None:
    """A tensor with strides: not sparse, not packed for mkldnn."""
    if x.layout is not torch.strided:
        raise TypeError(
            f"{op}: {argument} has layout {x.layout}; expected torch.strided. "
            f"Convert {argument} with .to_dense()."
        )


def check_float(op: str, argument: str, x: Tensor) -> None:
    """A floating-point tensor of a supported dtype."""
    check_strided(op, argument, x)
    if x.dtype not in FLOATS:
        fail_dtype(
            op,
            argument,
            x.dtype,
            "float32, bfloat16, float16 or float64",
            f"Convert {argument} with .float().",
        )


def check_parameter_dtype(op: str, argument: str, parameter: Tensor, x: Tensor) -> None:
    """A small parameter has the dtype of ``x``, or float32 beside a half-precision ``x``."""
    check_strided(op, argument, parameter)
    dtype = x.dtype
    if parameter.dtype is not dtype and parameter.dtype is not accumulation_dtype(dtype):
        other = "" if accumulation_dtype(dtype) is dtype else f" or {accumulation_dtype(dtype)}"
        remedy = f"Convert {argument} with .to(x.dtype)."
        fail_dtype(op, argument, parameter.dtype, f"{dtype} (as x){other}", remedy)


def check_image(op: str, x: Tensor, argument: str = "x") -> None:
    """A (N, C, H, W) floating-point tensor with at least one channel."""
    if x.dim() != 4 or x.shape[1] < 1:
        fail(
            op,
            argument,
            f"of shape {tuple(x.shape)}",
            "(N, C, H, W) with C >= 1",
            "Add the missing dimension with unsqueeze.",
        )
    check_float(op, argument, x)


def check_shape(op: str, argument: str, tensor: Tensor, expected: tuple[int, ...], meaning: str) -> None:
    """A tensor of exactly this shape; ``meaning`` spells it in the operator's own letters."""
    if tuple(tensor.shape) != tuple(expected):
        fail(
            op,
            argument,
            f"of shape {tuple(tensor.shape)}",
            f"{meaning} = {tuple(expected)}",
            f"Reshape or rebuild {argument}.",
        )
