from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore.spine import LEVELS, check_order, cobb_between, measure_curves
from spinecore.spine.phantom import (
    CURVE_KINDS,
    POSITIONS,
    SpineShape,
    balanced,
    from_cobb,
    random_patient,
    random_spine,
)


@given(
    st.sampled_from([(0, 16), (2, 12), (0, 5, 11, 16), (1, 4, 9, 13, 16)]),
    st.lists(st.floats(-55, 55), min_size=5, max_size=5),
    st.floats(0, 0.5),
)
@settings(deadline=None, max_examples=80)
def test_prescribed_end_tilts_are_the_angles_of_the_corners(
    levels: tuple[int, ...], tilts: list[float], wedging: float
) -> None:
    shape = SpineShape(levels, tuple(tilts[: len(levels)]), wedging)
    spine = shape.vertebrae(1500.0, (400.0, 900.0))
    np.testing.assert_allclose(spine.tilts_deg, shape.tilts_deg, atol=1e-9)
    for index in range(len(levels) - 1):
        upper, lower = LEVELS[levels[index]], LEVELS[levels[index + 1]]
        assert cobb_between(spine, upper, lower, "aasce_midbody") == pytest.approx(
            abs(tilts[index + 1] - tilts[index]), abs=1e-7
        )
    for definition in ("srs_endplate", "aasce_midbody"):
        assert measure_curves(spine, definition)[0].cobb_deg == pytest.approx(
            shape.major_cobb_deg(definition), abs=1e-7
        )


@pytest.mark.parametrize("kind", CURVE_KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_random_spines_are_upright_well_formed_and_of_their_kind(kind: str, seed: int) -> None:
    patient = random_patient(np.random.default_rng(seed), kind)
    for position in POSITIONS:
        spine = patient.shape(position).vertebrae(1500.0, (400.0, 900.0))
        assert check_order(spine).ok
        assert (np.diff(spine.centers[:, 1]) > 0).all()
    major = patient.standing.major_cobb_deg("aasce_midbody")
    assert major <= 9.0 if kind == "straight" else 10.0 <= major <= 75.0
    centers = patient.standing.vertebrae(1.0, (0.0, 0.0)).centers
    assert abs(centers[0, 0] - centers[-1, 0]) < 0.15


def test_bending_leans_to_its_side_and_standing_does_not() -> None:
    patient = random_patient(np.random.default_rng(5), "thoracic")
    lean = {}
    for position in POSITIONS:
        centers = patient.shape(position).vertebrae(1.0, (0.0, 0.0)).centers
        lean[position] = centers[0, 0] - centers[-1, 0]
    assert lean["left_bending"] < -0.1 < lean["coronal"] < 0.1 < lean["right_bending"]


def test_random_spines_cover_the_range() -> None:
    sizes = [random_spine(np.random.default_rng(seed)).major_cobb_deg("aasce_midbody") for seed in range(300)]
    assert min(sizes) < 8
    assert max(sizes) > 60
    assert 15 < np.median(sizes) < 40


def test_balancing_changes_no_angle() -> None:
    shape = SpineShape((0, 5, 12), (10.0, -20.0, 15.0))
    level = balanced(shape)
    centers = level.vertebrae(1.0, (0.0, 0.0)).centers
    assert centers[0, 0] == pytest.approx(centers[-1, 0], abs=1e-9)
    for definition in ("srs_endplate", "aasce_midbody", "centerline_tangent"):
        assert level.major_cobb_deg(definition) == pytest.approx(shape.major_cobb_deg(definition))


@pytest.mark.parametrize(
    ("levels", "tilts", "message"),
    [((0, 5), (1.0,), "as many"), ((5, 5), (1.0, 2.0), "increase"), ((0, 17), (1.0, 2.0), "16")],
)
def test_impossible_shapes_are_refused(
    levels: tuple[int, ...], tilts: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SpineShape(levels, tilts)


def test_unknown_kinds_sides_and_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="thoracic"):
        random_spine(np.random.default_rng(0), "kyphosis")
    with pytest.raises(ValueError, match="image-right"):
        from_cobb((0, 16), (20.0,), "right")
    with pytest.raises(ValueError, match="coronal"):
        random_patient(np.random.default_rng(0)).shape("lateral")
