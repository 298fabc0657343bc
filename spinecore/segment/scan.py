"""``segment_scan``: masks of all slices, then levels and sizes in the slice that shows most of the canal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinecore.io.errors import FilmError
from spinecore.io.volume import Volume
from spinecore.segment.result import SEGMENTED, ScanResult
from spinecore.spine.lumbar.column import CANAL, DISCS, VERTEBRAE
from spinecore.spine.lumbar.measures import LumbarReading, read_lumbar
from spinecore.spine.lumbar.specks import without_specks

WORKING_MM = 0.47
"""Pixel size that slices of known spacing are brought to: that of SPIDER's T2 SPACE scans (van der Graaf
2024), which the shipped weights were trained on.
"""
FLATTEST = 2.5
"""Pixels longer than this times their width are no sagittal acquisition's."""
LARGEST_SIDE = 2048
NAMES = {VERTEBRAE: "vertebrae", DISCS: "discs", CANAL: "canal"}
CLASSES = 1 + len(NAMES)


class SliceReader(Protocol):
    """What the ``reader`` factory of an MRI model's spec returns."""

    def probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """A slice (H, W), front to the left -> (4, H, W): background, vertebrae, discs, canal."""


@runtime_checkable
class VolumeReader(Protocol):
    """A reader that sees all slices of a volume at once."""

    def volume_probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Slices (S, H, W) -> (4, S, H, W)."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """masks (S, H, W) uint8 of class indices; certainty by structure; the reading of slice `measured`."""

    masks: NDArray[np.uint8]
    certainty: dict[str, float]
    measured: int
    reading: LumbarReading


def segment_scan(volume: Volume, reader: SliceReader) -> Segmentation:
    """Segment every slice of `volume`; FilmError where that cannot work or nothing is found."""
    factor = _zoom(volume)
    masks: list[NDArray[np.uint8]] = []
    sums, counts = np.zeros(CLASSES), np.zeros(CLASSES)
    for p in _by_slice(volume.pixels, reader, factor):
        mask = without_specks(p.argmax(0).astype(np.uint8))
        best = p.max(0)
        sums += np.bincount(mask.ravel(), best.ravel().astype(np.float64), CLASSES)[:CLASSES]
        counts += np.bincount(mask.ravel(), minlength=CLASSES)[:CLASSES]
        masks.append(mask)
    stack = np.stack(masks)
    if not (stack > 0).any():
        raise FilmError("no spine was found; is this a sagittal lumbar scan, head up and front to the left?")
    measured = int((stack == CANAL).sum((1, 2)).argmax()) if (stack == CANAL).any() else len(stack) // 2
    certainty = {name: round(float(sums[k] / counts[k]), 4) for k, name in NAMES.items() if counts[k]}
    return Segmentation(stack, certainty, measured, read_lumbar(stack[measured], volume.in_plane))


def result_of(found: Segmentation, volume: Volume, scan: str, stem: str) -> ScanResult:
    """The record of a segmented scan."""
    levels = found.reading.levels
    flags = [] if levels.known else ["levels-unknown"]
    if levels.known and levels.why:
        flags.append("levels-uncertain")
    missing = [name for k, name in NAMES.items() if not (found.masks[found.measured] == k).any()]
    return ScanResult(
        scan=scan,
        stem=stem,
        status=SEGMENTED,
        flags=(*flags, *(f"no-{name}" for name in missing)),
        slices=len(found.masks),
        height=int(found.masks.shape[1]),
        width=int(found.masks.shape[2]),
        spacing=volume.spacing,
        measured_slice=found.measured,
        body_levels=levels.bodies,
        disc_levels=levels.discs,
        level_confidence=levels.confidence,
        level_doubts=levels.why,
        sizes=found.reading.sizes,
        certainty=found.certainty,
    )


def _zoom(volume: Volume) -> tuple[float, float]:
    """Factors down and across that bring pixels to WORKING_MM; 1 where spacing is unknown."""
    if volume.spacing is None:
        return 1.0, 1.0
    down, across = volume.in_plane
    if max(down, across) > FLATTEST * min(down, across):
        raise FilmError(
            f"pixels of its sagittal slices are {down:.2f} x {across:.2f} mm: it was "
            f"not acquired sagittally; give the sagittal series"
        )
    height, width = volume.pixels.shape[1:]
    sides = height * down / WORKING_MM, width * across / WORKING_MM
    if max(sides) > LARGEST_SIDE or min(sides) < 32:
        raise FilmError(
            f"slices are {height * down:.0f} x {width * across:.0f} mm, which no lumbar scan is; "
            f"check the spacing {down:g} x {across:g} mm in the file"
        )
    return down / WORKING_MM, across / WORKING_MM


def _by_slice(
    pixels: NDArray[np.float32], reader: SliceReader, factor: tuple[float, float]
) -> Iterator[NDArray[np.float32]]:
    """Probabilities (4, H, W) of each slice; networks of volumes see all slices at once."""
    if not isinstance(reader, VolumeReader):
        yield from (_probabilities(plane, reader, factor) for plane in pixels)
        return
    shape = pixels.shape[1:]
    working = _working_shape(shape, factor)
    same = working == shape
    found = reader.volume_probabilities(
        pixels if same else np.stack([resized(plane, working) for plane in pixels])
    )
    for p in np.moveaxis(found, 1, 0):
        yield p if same else np.stack([resized(channel, shape) for channel in p])


def _working_shape(shape: tuple[int, ...], factor: tuple[float, float]) -> tuple[int, ...]:
    if max(abs(math.log(f)) for f in factor) < 0.02:
        return shape
    return tuple(max(32, round(side * f)) for side, f in zip(shape, factor, strict=True))


def _probabilities(
    pixels: NDArray[np.float32], reader: SliceReader, factor: tuple[float, float]
) -> NDArray[np.float32]:
    working = _working_shape(pixels.shape, factor)
    if working == pixels.shape:
        return reader.probabilities(pixels)
    p = reader.probabilities(resized(pixels, working))
    return np.stack([resized(channel, pixels.shape) for channel in p])


def resized(image: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Bilinear, pixel areas on pixel areas; smoothed first where it shrinks."""
    ratio = [old / new for old, new in zip(image.shape, shape, strict=True)]
    smooth = [max(0.0, (r - 1) / 2) for r in ratio]
    source: Any = ndimage.gaussian_filter(image, smooth) if max(smooth) > 0 else image
    at = [(np.arange(new) + 0.5) * r - 0.5 for new, r in zip(shape, ratio, strict=True)]
    grid = np.meshgrid(*at, indexing="ij")
    return np.asarray(ndimage.map_coordinates(source, grid, order=1, mode="nearest"), dtype=np.float32)
