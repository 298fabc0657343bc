"""Weights of 3x3 convolutions in the form of the Winograd kernels, kept as long as the weights live.

What is kept is used only while the bytes of the weights are those it was made from: comparing costs less
than a hundredth of the convolution, and holds for every way of changing a tensor (``.data`` included, which
version counters do not see).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from spinecore import _native
from spinecore.backends import Call, Verdict

_SLOWER_BASELINE = Verdict(False, "without AVX2 the Winograd kernel is no faster than PyTorch's convolution")


class _Kept(NamedTuple):
    weights: Tensor
    transformed: Tensor


_kept: WeakIdKeyDictionary = WeakIdKeyDictionary()


def transformed(w: Tensor, transposed: bool = False) -> Tensor:
    """The weights (O, I, 3, 3), float32 or bfloat16, of the convolution I -> O; with ``transposed`` those of
    its data gradient, O -> I. The result serves the selected instruction set only.
    """
    core = _native.core()
    if not w.is_contiguous() and not w.is_contiguous(memory_format=torch.channels_last):
        w = w.contiguous()
    slots: dict[tuple[bool, str], _Kept] | None = _kept.get(w)  # type: ignore[no-untyped-call]
    if slots is None:
        slots = _kept[w] = {}
    key = (transposed, core.selected_isa())
    kept = slots.get(key)
    if kept is None or not core.same_bytes(w, kept.weights):
        outputs, inputs = w.shape[:2]
        size = (
            core.winograd_weights_size(outputs, inputs)
            if transposed
            else core.winograd_weights_size(inputs, outputs)
        )
        result = torch.empty(size, dtype=torch.float32, device="cpu")
        core.winograd_transform(w.detach().to(torch.float32).contiguous(), transposed, result)
        slots[key] = kept = _Kept(w.detach().clone(memory_format=torch.preserve_format), result)
    return kept.transformed


def can_run(call: Call, kernel_size: int = 3) -> Verdict:
    """float32 and bfloat16, 3x3, of any size but zero."""
    if call.dtype is not torch.float32 and call.dtype is not torch.bfloat16:
        name = str(call.dtype).removeprefix("torch.")
        return Verdict(False, f"the native kernel computes float32 and bfloat16, not {name}")
    if kernel_size != 3:
        return Verdict(False, f"the native kernel is for 3x3 convolutions, not {kernel_size}x{kernel_size}")
    if 0 in call.shape:
        return Verdict(False, "x has no elements, there is nothing to vectorise")
    if call.layout != "channels_last":
        return _CONVERTED
    return _DENSE


_DENSE = Verdict(True, "Winograd F(4x4, 3x3) in float32, vectorised C++ kernel")
_CONVERTED = Verdict(True, "Winograd F(4x4, 3x3) in float32; x is first converted to channels-last")


def worthwhile(call: Call) -> Verdict:
    """Where the kernel beats PyTorch's convolution, by measurement."""
    _, channels, height, width = call.shape
    if _native.core().selected_isa() == "baseline":
        return _SLOWER_BASELINE
    if channels < 8:
        reason = f"{channels} input channels: below 8 PyTorch's direct convolution is faster"
        return Verdict(False, reason)
    if height * width < 4:
        return Verdict(False, "images of less than 4 pixels: a Winograd tile of 16 would be nearly empty")
    return _DENSE
