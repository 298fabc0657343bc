"""Reference masks beside a run's own: Dice and HD95 by structure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from spinecore.io.atomic import file_sha256
from spinecore.io.errors import FilmError, UsageError
from spinecore.io.volume import Volume, VolumeSource
from spinecore.metrics import dice, hd95, is_missed
from spinecore.segment.scan import NAMES

GREY_VALUES = {0: 0, 76: 1, 29: 2, 150: 3}
"""Of mask pictures made from SPIDER; pictures that hold 0 to 3 are taken as they are."""


class Reference:
    """A folder of mask pictures named like the scans, in subfolders like theirs or beside each other where
    names differ; scans without one are not compared.

    Raises UsageError when there is none for any of `sources`.
    """

    def __init__(self, folder: Path, sources: Sequence[VolumeSource]) -> None:
        if not folder.is_dir():
            raise UsageError(f"--reference {folder}: no such folder; give a folder of mask pictures")
        self.folder = folder
        self._names = Counter(Path(source.stem).name for source in sources)
        if not any(self._file(source).is_file() for source in sources):
            wanted = self._file(sources[0]).name if sources else "pictures"
            raise UsageError(
                f"--reference {folder}: holds no mask of any scan; looked for {wanted} and its like"
            )

    def fingerprint(self, source: VolumeSource) -> str:
        """Hash of the scan's reference, empty without one."""
        file = self._file(source)
        return file_sha256(file) if file.is_file() else ""

    def _file(self, source: VolumeSource) -> Path:
        file = self.folder / f"{source.stem}.png"
        name = Path(source.stem).name
        return file if file.is_file() or self._names[name] > 1 else self.folder / f"{name}.png"

    def figures(
        self, source: VolumeSource, masks: NDArray[np.uint8], volume: Volume
    ) -> dict[str, float | None]:
        """Dice and HD95 in pixels by structure; None where neither shows it, nothing for volumes. A structure
        that only one of them shows has Dice 0 and the diagonal of the slice as HD95.
        """
        if volume.origin is not None or not self._file(source).is_file():
            return {}
        truth = read_reference(self._file(source))
        if truth.shape != masks.shape[1:]:
            raise FilmError(f"is {masks.shape[1:]}, its reference {truth.shape}; both must have one size")
        result: dict[str, float | None] = {}
        for index, name in NAMES.items():
            ours, theirs = masks[0] == index, truth == index
            absent = not (ours.any() or theirs.any())
            result[f"dice_{name}"] = None if absent else round(dice(ours, theirs), 5)
            result[f"hd95_{name}"] = None if absent else round(hd95(ours, theirs), 3)
            result[f"missed_{name}"] = float(is_missed(ours, theirs))
        return result


def read_reference(path: Path) -> NDArray[np.uint8]:
    """Class indices (H, W) of a mask picture."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image if image.mode in ("L", "P") else image.convert("L"), dtype=np.uint8)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise FilmError(f"reference {path.name} cannot be read: {error}") from None
    if values.max(initial=0) <= max(NAMES):
        return values
    table = np.full(256, 255, np.uint8)
    for value, index in GREY_VALUES.items():
        table[value] = index
    mask = table[values]
    if (mask == 255).any():
        odd = sorted({int(v) for v in values[mask == 255]})[:5]
        known = ", ".join(str(v) for v in GREY_VALUES)
        raise FilmError(f"reference {path.name} holds values {odd}; expected 0 to 3, or {known}")
    return mask


def agreement(results: Iterable[dict[str, float | None]]) -> dict[str, Any]:
    """Means over scans: Dice by structure and over structures, HD95 by structure, and how many missed."""
    cases = [case for case in results if case]
    if not cases:
        return {}
    found: dict[str, Any] = {"scans": len(cases)}
    for name in NAMES.values():
        for key in (f"dice_{name}", f"hd95_{name}"):
            values = [value for case in cases if (value := case[key]) is not None]
            found[key] = round(float(np.mean(values)), 4) if values else None
        found[f"missed_{name}"] = int(sum(case[f"missed_{name}"] or 0 for case in cases))
    means = [found[f"dice_{name}"] for name in NAMES.values() if found[f"dice_{name}"] is not None]
    found["dice"] = round(float(np.mean(means)), 4) if means else None
    return found
