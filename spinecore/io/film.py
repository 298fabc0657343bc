"""One film as every reader of the package sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Film:
    """A grey film, bone bright, with what is honestly known about it. Carries no patient identity."""

    path: Path
    pixels: NDArray[np.float32]  # (H, W) in 0..1
    spacing_mm: float | None = None  # millimetres per pixel in the patient; None when the file does not say
    spacing_source: str = "none"
    pixel_aspect: float = 1.0  # height of a pixel over its width, as the file says
    view: str | None = None  # "AP", "PA" ... as the file says
    image_right_is: str | None = None  # "patient-left" | "patient-right" when the file gives its orientation
    flags: tuple[str, ...] = field(default=())

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])


def scale_unit(values: NDArray[Any], low: float, high: float, *, invert: bool = False) -> NDArray[np.float32]:
    """Map ``low..high`` to 0..1 in float32 and clip; ``invert`` turns bone-dark values bone-bright."""
    scaled = values.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(max(high - low, 1e-30))
    np.clip(scaled, 0.0, 1.0, out=scaled)
    if invert:
        np.subtract(np.float32(1.0), scaled, out=scaled)
    return scaled


def robust_range(values: NDArray[Any]) -> tuple[float, float]:
    """The 0.05 and 99.95 percentiles: deep films use part of their range, and one marker must not set it."""
    sample = values[:: max(1, values.shape[0] // 1024), :: max(1, values.shape[1] // 1024)]
    low, high = np.percentile(sample, [0.05, 99.95])
    if high <= low:  # a sparse bright object on an empty film
        low, high = float(values.min()), float(values.max())
    return float(low), float(high)
