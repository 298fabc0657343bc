from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore.spine import DEFINITIONS, LEVELS, Curve, Vertebrae, cobb_between, measure_curves, severity_of
from spinecore.spine.phantom import CURVE_KINDS, from_cobb, random_spine

seeds = st.integers(0, 10_000)
definitions = st.sampled_from(DEFINITIONS)


def random_vertebrae(seed: int) -> Vertebrae:
    """A random spine with corners shaken as a reader would."""
    rng = np.random.default_rng(seed)
    spine = random_spine(rng).vertebrae(2000.0, (450.0, 1150.0))
    return Vertebrae.from_corners(
        spine.corners + rng.normal(0, 2.0, spine.corners.shape), confidence=rng.uniform(0, 1, 17)
    )


def angles(curves: list[Curve]) -> list[float]:
    return [curve.cobb_deg for curve in curves]


@given(seeds)
@settings(deadline=None, max_examples=50)
def test_major_midbody_angle_is_the_largest_between_any_two_midlines(seed: int) -> None:
    spine = random_vertebrae(seed)
    step = spine.midlines[:, 1] - spine.midlines[:, 0]
    unit = step / np.linalg.norm(step, axis=1, keepdims=True)
    largest = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1))).max()
    assert measure_curves(spine, "aasce_midbody")[0].cobb_deg == pytest.approx(largest, abs=1e-5)


@given(seeds, definitions, st.floats(-300, 300), st.floats(-300, 300), st.floats(-25, 25), st.floats(0.2, 4))
@settings(deadline=None, max_examples=60)
def test_moving_turning_and_enlarging_add_nothing(
    seed: int, definition: str, x: float, y: float, turn: float, scale: float
) -> None:
    spine = random_vertebrae(seed)
    moved = spine.shifted(x, y).rotated(turn, (100.0, 50.0)).scaled(scale, scale)
    before, after = measure_curves(spine, definition), measure_curves(moved, definition)
    np.testing.assert_allclose(angles(before), angles(after), atol=1e-6)
    for old, new in zip(before, after, strict=True):
        assert (old.upper_level, old.lower_level, old.apex_level) == (
            new.upper_level,
            new.lower_level,
            new.apex_level,
        )
        assert old.convexity == new.convexity


@given(seeds, definitions)
@settings(deadline=None, max_examples=40)
def test_mirroring_swaps_the_convexity_and_nothing_else(seed: int, definition: str) -> None:
    spine = random_vertebrae(seed)
    before, after = measure_curves(spine, definition), measure_curves(spine.mirrored(900.0), definition)
    np.testing.assert_allclose(angles(before), angles(after), atol=1e-6)
    for old, new in zip(before, after, strict=True):
        assert {old.convexity, new.convexity} == {"image-left", "image-right"}
        assert (old.upper_level, old.lower_level) == (new.upper_level, new.lower_level)


def test_a_resize_of_another_aspect_ratio_changes_angles_until_it_is_undone() -> None:
    shape = from_cobb((0, 4, 11, 16), (20.0, 50.0, 30.0))
    film = shape.vertebrae(2000.0, (450.0, 1150.0))
    square = film.scaled(512 / 900, 512 / 2300)
    assert abs(measure_curves(square)[0].cobb_deg - 50.0) > 10.0
    assert measure_curves(square.scaled(900 / 512, 2300 / 512))[0].cobb_deg == pytest.approx(50.0)


@given(seeds, definitions)
@settings(deadline=None, max_examples=40)
def test_every_curve_is_what_it_says(seed: int, definition: str) -> None:
    spine = random_vertebrae(seed)
    curves = measure_curves(spine, definition)
    assert curves[0].cobb_deg == max(angles(curves)) or definition == "srs_endplate"
    spans = []
    for number, curve in enumerate(curves):
        upper, lower = LEVELS.index(curve.upper_level), LEVELS.index(curve.lower_level)
        spans.append((upper, lower))
        assert upper <= LEVELS.index(curve.apex_level) <= lower
        assert upper < lower
        assert curve.severity == severity_of(curve.cobb_deg)
        assert curve.confidence == min(spine.confidence[upper], spine.confidence[lower])
        assert number == 0 or (curve.cobb_deg >= 10 and lower - upper >= 2)
        step = [line[1] - line[0] for line in (curve.upper_line, curve.lower_line)]
        drawn = np.degrees(np.arctan2(abs(np.cross([*step[0], 0], [*step[1], 0])[2]), step[0] @ step[1]))
        assert drawn == pytest.approx(curve.cobb_deg, abs=1e-6)
        assert cobb_between(spine, curve.upper_level, curve.lower_level, definition) == pytest.approx(
            curve.cobb_deg
        )
    spans.sort()
    assert all(above[1] == below[0] for above, below in itertools.pairwise(spans))  # shared ends
    by_height = sorted(curves, key=lambda curve: LEVELS.index(curve.upper_level))
    sides = [curve.convexity for curve in by_height]
    assert all(one != other for one, other in itertools.pairwise(sides))


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_alternatives_lie_within_one_level_and_hold_their_own_angle(seed: int) -> None:
    spine = random_vertebrae(seed)
    curve = measure_curves(spine, "srs_endplate")[0]
    found = {(other.upper_level, other.lower_level) for other in curve.alternatives}
    assert len(found) == len(curve.alternatives) >= 3
    assert (curve.upper_level, curve.lower_level) not in found
    for other in curve.alternatives:
        assert abs(LEVELS.index(other.upper_level) - LEVELS.index(curve.upper_level)) <= 1
        assert abs(LEVELS.index(other.lower_level) - LEVELS.index(curve.lower_level)) <= 1
        assert other.cobb_deg <= curve.cobb_deg
        assert other.cobb_deg == pytest.approx(
            cobb_between(spine, other.upper_level, other.lower_level, "srs_endplate")
        )


def test_convexity_apex_region_and_order_of_a_double_curve() -> None:
    spine = from_cobb((0, 4, 11, 15, 16), (15.0, 55.0, 40.0, 5.0), "image-left").vertebrae(
        1000.0, (300.0, 600.0)
    )
    major, upper, lumbar = measure_curves(spine)
    assert (major.upper_level, major.lower_level, major.convexity) == ("T5", "T12", "image-right")
    assert (upper.upper_level, upper.lower_level, upper.convexity) == ("T1", "T5", "image-left")
    assert (lumbar.upper_level, lumbar.lower_level, lumbar.convexity) == ("T12", "L4", "image-left")
    assert [curve.severity for curve in (major, upper, lumbar)] == ["severe", "mild", "severe"]
    assert major.region == "MT"
    assert lumbar.region == "L"
    apex = spine.centers[LEVELS.index(major.apex_level), 0]
    assert apex > spine.centers[4, 0]
    assert apex > spine.centers[11, 0]


def test_endplates_and_midlines_differ_as_the_bodies_are_wedged() -> None:
    corners = np.array(
        [
            [[0, 0], [20, 0], [0, 10], [20, 14]],  # inferior endplate lower on the right
            [[0, 20], [20, 22], [0, 30], [20, 38]],
        ],
        dtype=float,
    )
    spine = Vertebrae.from_corners(corners)
    srs = measure_curves(spine, "srs_endplate")[0].cobb_deg
    midbody = measure_curves(spine, "aasce_midbody")[0].cobb_deg
    assert srs == pytest.approx(np.degrees(np.arctan2(8, 20)))
    assert midbody == pytest.approx(np.degrees(np.arctan2(5, 20) - np.arctan2(2, 20)))


@pytest.mark.parametrize("definition", ["srs_endplate", "aasce_midbody"])
@pytest.mark.parametrize("cobb", [89.0, 91.0, 120.0])
def test_curves_beyond_90_degrees_do_not_fold_back(definition: str, cobb: float) -> None:
    spine = from_cobb((0, 5, 12, 16), (cobb / 2, cobb, cobb / 2)).vertebrae(1000.0, (300.0, 600.0))
    assert measure_curves(spine, definition)[0].cobb_deg == pytest.approx(cobb, abs=0.6)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 12])
def test_fewer_vertebrae_are_measured_or_give_no_curve(definition: str, count: int) -> None:
    whole = from_cobb((0, 5, 12, 16), (30.0, 50.0, 20.0)).vertebrae(1000.0, (300.0, 600.0))
    curves = measure_curves(whole.subset(slice(0, count)), definition)
    assert len(curves) == (0 if count < 2 else len(curves))
    assert bool(curves) == (count >= 2)
    for curve in curves:
        assert np.isfinite(curve.cobb_deg)
        assert curve.upper_level in LEVELS[:count]


@pytest.mark.parametrize("kind", CURVE_KINDS)
def test_unnamed_levels_give_curves_without_region(kind: str) -> None:
    spine = random_spine(np.random.default_rng(3), kind).vertebrae(1000.0, (300.0, 600.0))
    unnamed = Vertebrae.from_corners(spine.corners[1:])
    assert all(curve.region == "" for curve in measure_curves(unnamed))


@pytest.mark.parametrize(
    ("cobb", "word"),
    [
        (0, "none"),
        (9.99, "none"),
        (10, "mild"),
        (24.9, "mild"),
        (25, "moderate"),
        (39.9, "moderate"),
        (40, "severe"),
    ],
)
def test_severity_cut_offs(cobb: float, word: str) -> None:
    assert severity_of(cobb) == word


def test_unknown_names_are_refused() -> None:
    spine = from_cobb((0, 16), (20.0,)).vertebrae(1000.0, (300.0, 600.0))
    with pytest.raises(ValueError, match="srs_endplate"):
        measure_curves(spine, "cobb")
    with pytest.raises(ValueError, match="S1"):
        cobb_between(spine, "T1", "S1", "srs_endplate")
    with pytest.raises(ValueError, match="above"):
        cobb_between(spine, "L1", "T1", "srs_endplate")


def test_smoothed_centers_follow_smooth_spines_and_hold_back_noise() -> None:
    smooth = from_cobb((0, 16), (40.0,)).vertebrae(2000.0, (450.0, 1150.0))
    assert measure_curves(smooth, "centerline_tangent")[0].cobb_deg == pytest.approx(40.0, abs=2.0)
    noise = np.random.default_rng(0).normal(0, 3.0, (17, 1, 2))
    straight = from_cobb((0, 16), (0.0,)).vertebrae(2000.0, (450.0, 1150.0))
    shaken = Vertebrae.from_corners(straight.corners + noise)
    assert measure_curves(shaken, "centerline_tangent")[0].cobb_deg < 5.0


def test_of_equally_tilted_vertebrae_the_nearest_to_the_apex_is_the_end() -> None:
    spine = from_cobb((4, 11), (30.0,)).vertebrae(1000.0, (300.0, 600.0))  # T1-T5 alike, T12-L5 alike
    for turned in (spine, spine.rotated(7.0), spine.mirrored(600.0)):
        curve = measure_curves(turned)[0]
        assert (curve.upper_level, curve.lower_level) == ("T5", "T12")


@pytest.mark.parametrize("side", ["image-right", "image-left"])
@pytest.mark.parametrize(("cobb", "word"), [(10.0, "mild"), (25.0, "moderate"), (40.0, "severe")])
def test_a_spine_of_exactly_a_cut_off_belongs_to_the_class_above(side: str, cobb: float, word: str) -> None:
    """Angles computed from corners miss the cut-off by rounding errors."""
    [curve] = measure_curves(from_cobb((3, 13), (cobb,), side).vertebrae(2000.0, (450.0, 1150.0)))
    assert curve.severity == word
    assert severity_of(cobb - 1e-6) != word
