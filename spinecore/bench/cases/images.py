"""What the image operators' cases share: the six shapes, the two layouts, tensors drawn once a shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from spinecore.bench.case import Shape

LAYOUTS = ("nchw", "nhwc")
AXES = "N,C,H,W"
SHAPES: tuple[Shape, ...] = (
    (1, 64, 256, 256),
    (1, 128, 128, 128),
    (1, 32, 512, 256),
    (1, 16, 512, 256),
    (1, 256, 64, 64),
    (4, 64, 128, 128),
)


def drawn_once(draw: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """``draw`` seeded, its last result kept: all variants of a shape get the same tensors."""

    @lru_cache(maxsize=1)
    def cached(*key: Any) -> list[Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return draw(*key)

    return cached


def double(values: list[Any]) -> list[Any]:
    """Every floating-point tensor in double precision."""
    return in_dtype(values, torch.float64)


def in_dtype(values: list[Any], dtype: torch.dtype) -> list[Any]:
    """Every floating-point tensor in ``dtype``."""
    return [v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for v in values]
