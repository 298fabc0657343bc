"""What any reader of films (a model, human landmarks, human masks) hands to the measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinecore.spine.vertebrae import Vertebrae


@dataclass(frozen=True, eq=False)
class FilmReading:
    """One film read: vertebrae and mask in original film pixels.

    vertebrae: the bodies found, top to bottom; may be empty when only a mask was given.
    mask: (H, W) bool of the original size, the column from T1 to L5, or None when the reader gives none.
    flags: short reasons for doubt, in words a user can act on.
    """

    vertebrae: Vertebrae
    mask: NDArray[np.bool_] | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mask is not None and (self.mask.ndim != 2 or self.mask.dtype != np.bool_):
            raise ValueError(f"mask must be a 2-D bool array, got {self.mask.dtype} {self.mask.shape}")
        object.__setattr__(self, "flags", tuple(self.flags))
