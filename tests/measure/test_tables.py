from __future__ import annotations

import numpy as np
import pytest

from spinecore.measure.result import MEASURED, FilmResult
from spinecore.measure.tables import translation_rows
from spinecore.spine import measure_curves
from spinecore.spine.phantom import from_cobb

SPINE = from_cobb((0, 16), (40.0,), "image-right").vertebrae(1000.0, (300.0, 600.0))


def rows(**known: object) -> list[tuple[object, ...]]:
    curves = {"aasce_midbody": tuple(measure_curves(SPINE))}
    return list(translation_rows(FilmResult("a.dcm", "a", MEASURED, curves=curves, vertebrae=SPINE, **known)))


def test_translation_in_pixels_percent_and_millimetres() -> None:
    """Spacing is that between rows; half as wide pixels make half the distance across."""
    trunk, chord, below = rows(spacing_mm=0.4, spacing_source="PixelSpacing", pixel_aspect=2.0)
    x, y = SPINE.centers[:, 0], SPINE.centers[:, 1]
    apex = SPINE.levels.index(str(chord[2]))
    across = {
        "trunk_shift": x[0] - x[16],
        "apex_to_chord": x[apex] - np.interp(y[apex], y[[0, 16]], x[[0, 16]]),
        "apex_to_lower_vertical": x[apex] - x[16],
    }
    for row, (measure, px) in zip((trunk, chord, below), across.items(), strict=True):
        assert row[:2] == ("a.dcm", measure)
        assert row[3:5] == ("T1", "L5")
        assert float(str(row[5])) == pytest.approx(px, abs=0.01)
        assert float(str(row[7])) == pytest.approx(px * 0.2, abs=0.01)
        assert row[8] == "PixelSpacing"
    assert across["apex_to_chord"] > 0  # convex to image right
    assert float(str(chord[6])) == pytest.approx(100 * float(str(chord[5])) / SPINE.widths[apex], abs=0.1)


def test_no_millimetres_where_the_file_states_none() -> None:
    assert {row[7] for row in rows()} == {""}
    assert list(translation_rows(FilmResult("a.png", "a", "failed"))) == []
