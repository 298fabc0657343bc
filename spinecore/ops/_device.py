"""Running a kernel of ours where its tensors are: on their GPU, in the stream that torch uses there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)


@contextmanager
def stream_of(x: Tensor) -> Iterator[int]:
    """The address of torch's current stream on the device of ``x``, which is the current device meanwhile."""
    with torch.cuda.device(x.device):
        yield torch.cuda.current_stream(x.device).cuda_stream


def float32(tensor: Tensor) -> Tensor:
    """A parameter as the kernels read it: float32 and contiguous; most are already."""
    return tensor.to(torch.float32).contiguous()


def optional(tensor: Tensor | None, like: Tensor) -> Tensor:
    """An absent bias is an empty tensor on the device of ``like``."""
    return like.new_empty(0, dtype=torch.float32) if tensor is None else float32(tensor)


def capability(x: Tensor) -> tuple[int, int]:
    """Of the GPU that ``x`` lies on, as (8, 0)."""
    return torch.cuda.get_device_capability(x.device)


def tf32_allowed() -> bool:
    """Whether torch may multiply float32 in tf32."""
    return torch.get_float32_matmul_precision() != "highest"
