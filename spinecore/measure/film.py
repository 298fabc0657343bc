"""``measure_film``: the one function every command measures a film with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinecore.io.errors import FilmError
from spinecore.io.film import Film
from spinecore.io.find import FilmSource
from spinecore.measure.options import ALL_DEFINITIONS, MeasureOptions
from spinecore.measure.readers import Reader
from spinecore.measure.result import MEASURED, FilmResult
from spinecore.spine import (
    DEFINITIONS,
    LEVELS,
    Curve,
    aasce_angles,
    measure_centerline,
    measure_curves,
    reversal_within_deg,
)
from spinecore.spine.reading import FilmReading
from spinecore.spine.segments import MINOR_CURVE_DEG
from spinecore.spine.vertebrae import Vertebrae

# On r2mf_net's validation films a vertebra lies within half a body of the annotated one of its name in 75 %
# of cases at a confidence from 0.5 up, 59 % between, 42 % below 0.2; most misses are levels shifted by one.
SURE, LOW_CONFIDENCE = 0.50, 0.20
MOSTLY_WEAK = 0.5  # share of weak vertebrae: of 481 full-spine films whose chain is found none has over 0.36
ENDPLATE_DEFINITIONS = ("srs_endplate", "aasce_midbody")


def measure_film(
    source: FilmSource, film: Film, reader: Reader, options: MeasureOptions | None = None
) -> FilmResult:
    """Read ``film`` with ``reader`` and measure it in original pixel geometry.

    Returns a measured result with its mask. Raises :class:`FilmError` with the reason when the reading holds
    no spine, or not what the wanted definition needs.
    """
    options = options or MeasureOptions()
    reading = reader.read(source, film)
    aspect = film.pixel_aspect
    curves = {name: found for name in DEFINITIONS if (found := _curves(reading, name, aspect)) is not None}
    wanted = tuple(curves) if options.definition == ALL_DEFINITIONS else (options.definition,)
    primary = options.primary
    if options.definition == ALL_DEFINITIONS and primary not in curves and wanted:
        primary = wanted[0]
    if primary not in curves:
        raise FilmError(_why_not(reading, primary))
    vertebrae = reading.vertebrae if len(reading.vertebrae) else None
    upright = _in_square_pixels(reading.vertebrae, aspect)
    angles = None
    if vertebrae is not None and vertebrae.levels == LEVELS:
        first, second, third = (float(value) for value in aasce_angles(upright, film.height * aspect))
        angles = (first, second, third)
    return FilmResult(
        film=source.film,
        stem=source.stem,
        status=MEASURED,
        flags=(
            *film.flags,
            *reading.flags,
            *_reading_flags(reading),
            *_curve_flags(upright, curves[primary]),
        ),
        width=film.width,
        height=film.height,
        primary=primary,
        definitions=wanted,
        curves=curves,
        vertebrae=vertebrae,
        aasce=angles,
        spacing_mm=film.spacing_mm,
        spacing_source=film.spacing_source,
        view=film.view,
        image_right_is=film.image_right_is,
        pixel_aspect=aspect,
        mask=reading.mask,
    )


def _in_square_pixels(vertebrae: Vertebrae, aspect: float) -> Vertebrae:
    """Corners with the width of a pixel as the unit of both directions: angles are only true there."""
    return dataclasses.replace(vertebrae, corners=vertebrae.corners * (1.0, aspect))


def _in_file_pixels(curve: Curve, aspect: float) -> Curve:
    """The lines back where the film shows them."""
    lines = {name: getattr(curve, name) / (1.0, aspect) for name in ("upper_line", "lower_line")}
    return dataclasses.replace(curve, **lines)


def _curves(reading: FilmReading, definition: str, aspect: float) -> tuple[Curve, ...] | None:
    """Curves of one definition, or None when the reading does not hold what the definition needs."""
    if len(reading.vertebrae) >= 2:
        found = measure_curves(_in_square_pixels(reading.vertebrae, aspect), definition)
        return tuple(_in_file_pixels(curve, aspect) for curve in found)
    if definition in ENDPLATE_DEFINITIONS or reading.mask is None or not reading.mask.any():
        return None
    if len(reading.vertebrae):  # the mask of a single body is no spine
        return None
    try:
        found = measure_centerline(_stretched(reading.mask, aspect))
        return tuple(_in_file_pixels(curve, aspect) for curve in found) or None
    except ValueError as error:
        raise FilmError(f"the spine mask has no measurable middle line: {error}") from None


def _stretched(mask: NDArray[np.bool_], aspect: float) -> NDArray[np.bool_]:
    """The mask in square pixels."""
    if aspect == 1.0:
        return mask
    rows = max(round(len(mask) * aspect), 1)
    nearest = ((np.arange(rows) + 0.5) / aspect).astype(np.intp).clip(max=len(mask) - 1)
    return np.asarray(mask[nearest])


def _why_not(reading: FilmReading, definition: str) -> str:
    found = len(reading.vertebrae)
    if definition in ENDPLATE_DEFINITIONS and reading.mask is not None and not found:
        return f"{definition} needs vertebrae and only a mask is given; use --definition centerline_tangent"
    return f"no spine found: {found} vertebrae, at least 2 are needed"


def _curve_flags(upright: Vertebrae, curves: Sequence[Curve]) -> tuple[str, ...]:
    """On 5 of 481 real films the largest angle lies between vertebrae of two curves with one between them."""
    if len(upright) < 2 or not curves:
        return ()
    reversed_deg = reversal_within_deg(upright, curves[0])
    return ("major-spans-curves",) if reversed_deg >= MINOR_CURVE_DEG else ()


def _reading_flags(reading: FilmReading) -> tuple[str, ...]:
    flags: list[str] = []
    vertebrae = reading.vertebrae
    if len(vertebrae):
        low = int((vertebrae.confidence < LOW_CONFIDENCE).sum())
        if low:
            flags.append(f"low-confidence:{low}")
        if low >= MOSTLY_WEAK * len(vertebrae):
            flags.append("spine-doubtful")
        if vertebrae.levels != LEVELS:
            named = all(level in LEVELS for level in vertebrae.levels)
            flags.append(f"vertebrae:{len(vertebrae)}" if named else "levels-unknown")
    return tuple(flag for flag in flags if flag not in reading.flags)
