from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spinecore.spine import Vertebrae, aasce_angles, is_crossed, measure_curves, repair_order
from spinecore.spine.phantom import from_cobb


def test_published_angles_of_every_film_are_reproduced(aasce: Any) -> None:
    measured = np.array(
        [
            aasce_angles(Vertebrae.from_corners(corners), float(size[1]))
            for corners, size in zip(aasce.corners, aasce.sizes, strict=True)
        ]
    )
    error = np.abs(measured - aasce.angles)
    assert len(error) == 481
    assert error.max() <= 0.05  # all three angles of all films, the flawed ones too: the rule is the rule


def test_major_curve_is_the_first_angle_on_every_usable_film(aasce: Any) -> None:
    for row, (corners, published) in enumerate(zip(aasce.corners, aasce.angles, strict=True)):
        ordered, report = repair_order(corners)
        if not report.usable or is_crossed(corners).any():
            continue
        major = measure_curves(Vertebrae.from_corners(ordered), "aasce_midbody")[0]
        assert major.cobb_deg == pytest.approx(published[0], abs=0.05), row


def test_single_curve_has_no_angle_beyond_its_ends() -> None:
    spine = from_cobb((3, 13), (50.0,)).vertebrae(1000.0, (300.0, 600.0))
    np.testing.assert_allclose(aasce_angles(spine, 1200.0), [50.0, 0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("height", [100.0, 5000.0])
def test_s_shape_asks_in_which_half_of_the_image_the_major_curve_lies(height: float) -> None:
    spine = from_cobb((0, 4, 10, 16), (20.0, 50.0, 35.0)).vertebrae(1000.0, (300.0, 600.0))
    first, second, third = aasce_angles(spine, height)
    assert first == pytest.approx(50.0)
    assert second == pytest.approx(20.0)
    # In the upper half the third angle lies below the major curve, in the lower half above the second angle.
    assert third == pytest.approx(35.0 if height == 5000.0 else 0.0, abs=1e-6)


def test_curves_beyond_90_degrees_keep_their_size() -> None:
    spine = from_cobb((0, 5, 12, 16), (40.0, 110.0, 50.0)).vertebrae(1000.0, (300.0, 600.0))
    assert aasce_angles(spine, 1200.0)[0] == pytest.approx(110.0)


def test_a_straight_vertical_spine_is_all_zeros() -> None:
    spine = from_cobb((0, 16), (0.0,)).vertebrae(1000.0, (300.0, 600.0))
    np.testing.assert_allclose(aasce_angles(spine, 1200.0), 0.0, atol=1e-9)


def test_fewer_vertebrae_are_refused() -> None:
    spine = from_cobb((0, 16), (20.0,)).vertebrae(1000.0, (300.0, 600.0))
    with pytest.raises(ValueError, match="17 vertebrae"):
        aasce_angles(spine.subset(slice(0, 12)), 1200.0)
