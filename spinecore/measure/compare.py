"""One film measured against its AASCE reference, in original pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinecore.io.errors import FilmError
from spinecore.io.masks import read_mask
from spinecore.measure.result import FilmResult
from spinecore.metrics import dice, hd95, iou
from spinecore.spine.aasce import aasce_angles
from spinecore.spine.levels import LEVELS
from spinecore.spine.raster import polygon_mask
from spinecore.spine.vertebrae import Vertebrae

DEFINITION = "aasce_midbody"  # what angles.csv of the data set holds
NO_ANGLES = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class FilmScore:
    """Figures of one film; NaN where the run gives nothing to compare. A missed film has overlap 0."""

    name: str
    clean: bool  # its reference was listed in order
    missed: bool
    reason: str
    angles: tuple[float, float, float]  # measured, by the AASCE rule
    reference_angles: tuple[float, float, float]
    dice: float
    iou: float
    hd95_px: float
    hd95_missed: bool
    tilt_mae_deg: float  # mean over the vertebrae
    corner_error_percent: float  # mean over the corners, in % of the film's mean body height


def score_film(
    name: str,
    reference: Vertebrae,
    angles: NDArray[np.float64],
    size: tuple[int, int],
    *,
    clean: bool,
    result: FilmResult | None,
    out: Path,
) -> FilmScore:
    """Compare one film's result (None: not in the run) with its corners and angles.

    The reference mask is the column polygon of the corners. Angles of a film listed out of order come from
    its repaired corners, since the data set's own were computed on the crossed ones.
    """
    width, height = size
    wanted = angles if clean else aasce_angles(reference, height)
    reference_angles = (float(wanted[0]), float(wanted[1]), float(wanted[2]))
    if result is None or not result.measured:
        reason = "not in this run" if result is None else result.reason
        far = math.hypot(width, height)
        nothing = math.nan
        return FilmScore(
            name, clean, True, reason, NO_ANGLES, reference_angles, 0.0, 0.0, far, True, nothing, nothing
        )
    if (result.width, result.height) != (width, height):
        raise FilmError(
            f"{name}: measured on {result.width} x {result.height} pixels, "
            f"the reference film has {width} x {height}"
        )
    overlap = _overlap(result, reference, (height, width), out)
    tilt, corner = _vertebra_errors(result.vertebrae, reference)
    return FilmScore(
        name=name,
        clean=clean,
        missed=False,
        reason="",
        angles=_angles(result),
        reference_angles=reference_angles,
        dice=overlap[0],
        iou=overlap[1],
        hd95_px=overlap[2],
        hd95_missed=overlap[3],
        tilt_mae_deg=tilt,
        corner_error_percent=corner,
    )


def _angles(result: FilmResult) -> tuple[float, float, float]:
    """All three where seventeen vertebrae were found, the major one alone where there are fewer."""
    if result.aasce is not None:
        return result.aasce
    curves = result.curves.get(DEFINITION, ())
    return (curves[0].cobb_deg if curves else math.nan, math.nan, math.nan)


def _overlap(
    result: FilmResult, reference: Vertebrae, shape: tuple[int, int], out: Path
) -> tuple[float, float, float, bool]:
    """Dice, IoU, HD95 in pixels, and whether the mask is empty and HD95 the film's diagonal."""
    relative = result.outputs.get("mask")
    if relative is None:
        return math.nan, math.nan, math.nan, False
    found = read_mask(out / relative)
    if found.shape != shape:
        raise FilmError(f"{out / relative}: has shape {found.shape}, the film {shape}; measure it again")
    wanted = polygon_mask(reference.column_polygon(), *shape)
    if not found.any():
        return 0.0, 0.0, hd95(found, wanted), True
    # Borders lie inside the common bounding box: the same distances at a fifth of the cost.
    either = found | wanted
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return dice(found, wanted), iou(found, wanted), hd95(found[box], wanted[box]), False


def _vertebra_errors(found: Vertebrae | None, reference: Vertebrae) -> tuple[float, float]:
    if found is None or found.levels != LEVELS or reference.levels != LEVELS:
        return math.nan, math.nan
    turn = (found.tilts_deg - reference.tilts_deg + 180.0) % 360.0 - 180.0
    distance = np.linalg.norm(found.corners - reference.corners, axis=-1)
    return float(np.abs(turn).mean()), float(100.0 * distance.mean() / reference.heights.mean())
