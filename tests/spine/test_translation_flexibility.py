from __future__ import annotations

import numpy as np
import pytest

from spinecore.spine import (
    LEVELS,
    apical_translation,
    coronal_balance,
    flexibility,
    measure_curves,
    trunk_shift,
)
from spinecore.spine.phantom import PhantomPatient, balanced, from_cobb, random_patient


def test_translation_against_the_chord_and_against_the_vertical() -> None:
    spine = from_cobb((0, 16), (40.0,), "image-right").vertebrae(1000.0, (300.0, 600.0))
    curve = measure_curves(spine)[0]
    moved = apical_translation(spine, curve.apex_level)
    apex = LEVELS.index(curve.apex_level)
    offset = spine.centers[:, 0] - np.interp(
        spine.centers[:, 1], spine.centers[[0, -1], 1], spine.centers[[0, -1], 0]
    )
    assert moved.to_chord_px == pytest.approx(offset[apex])
    assert moved.to_chord_px > 0  # convex to image right
    assert moved.to_lower_vertical_px == pytest.approx(spine.centers[apex, 0] - spine.centers[-1, 0])
    assert moved.to_chord_percent == pytest.approx(100 * offset[apex] / spine.widths[apex])
    assert (moved.upper_reference, moved.lower_reference) == ("T1", "L5")
    mirrored = apical_translation(spine.mirrored(600), curve.apex_level)
    assert mirrored.to_chord_px == pytest.approx(-moved.to_chord_px)


def test_percent_does_not_depend_on_the_size_of_the_film() -> None:
    spine = from_cobb((0, 4, 11, 16), (20.0, 50.0, 30.0)).vertebrae(1000.0, (300.0, 600.0))
    small, large = apical_translation(spine, "T8"), apical_translation(spine.scaled(3, 3), "T8")
    assert large.to_chord_px == pytest.approx(3 * small.to_chord_px)
    assert large.to_chord_percent == pytest.approx(small.to_chord_percent)


def test_trunk_shift_names_its_references_and_is_signed() -> None:
    spine = balanced(from_cobb((0, 8, 16), (20.0, 20.0)), lean=0.1).vertebrae(1000.0, (300.0, 600.0))
    shift = trunk_shift(spine)
    assert shift.px == pytest.approx(spine.centers[0, 0] - spine.centers[-1, 0])
    assert shift.px > 0
    assert (shift.upper_reference, shift.lower_reference) == ("T1", "L5")
    cropped = trunk_shift(spine.subset(slice(2, 12)))
    assert (cropped.upper_reference, cropped.lower_reference) == ("T3", "T12")


def test_coronal_balance_needs_c7_and_s1() -> None:
    assert coronal_balance((310.0, 80.0), (300.0, 1100.0)).px == pytest.approx(10.0)
    hidden = coronal_balance(None, (300.0, 1100.0))
    assert hidden.px is None
    assert "C7" in hidden.reason
    assert "S1" not in hidden.reason


def test_missing_apex_or_too_few_bodies_are_refused() -> None:
    spine = from_cobb((0, 16), (20.0,)).vertebrae(1000.0, (300.0, 600.0))
    with pytest.raises(ValueError, match="S1"):
        apical_translation(spine, "S1")
    with pytest.raises(ValueError, match="two vertebrae"):
        trunk_shift(spine.subset([3]))


def test_bending_towards_the_convexity_gives_the_prescribed_flexibility() -> None:
    patient = PhantomPatient(from_cobb((0, 4, 11, 16), (20.0, 48.0, 30.0), "image-left"), (0.5, 0.375, 0.6))
    films = {
        position: patient.shape(position).vertebrae(1000.0, (300.0, 600.0))
        for position in ("coronal", "left_bending", "right_bending")
    }
    major, upper, lumbar = measure_curves(films["coronal"])
    right = flexibility(major, films["right_bending"])
    assert major.convexity == "image-right"
    assert right.towards_convexity
    assert right.bending_side == "image-right"
    assert right.residual_deg == pytest.approx(30.0)
    assert right.flexibility_percent == pytest.approx(37.5)
    left = flexibility(major, films["left_bending"])
    assert not left.towards_convexity
    assert left.flexibility_percent < 0
    assert flexibility(upper, films["left_bending"]).flexibility_percent == pytest.approx(50.0)
    assert flexibility(lumbar, films["left_bending"]).flexibility_percent == pytest.approx(60.0)


def test_residual_angles_use_the_standing_end_vertebrae_and_may_be_negative() -> None:
    standing = measure_curves(from_cobb((4, 11), (30.0,)).vertebrae(1000.0, (300.0, 600.0)))[0]
    over = from_cobb((4, 11), (12.0,), "image-left").vertebrae(1000.0, (300.0, 600.0))
    result = flexibility(standing, over, "image-right")
    assert (result.upper_level, result.lower_level) == (standing.upper_level, standing.lower_level)
    assert result.residual_deg == pytest.approx(-12.0)
    assert result.flexibility_percent == pytest.approx(140.0)


@pytest.mark.parametrize("seed", range(12))
def test_every_curve_of_a_random_patient_bends_as_prescribed(seed: int) -> None:
    patient = random_patient(np.random.default_rng(seed), "double")
    levels, tilts = patient.standing.turning_levels, patient.standing.turning_tilts_deg
    spine = {name: patient.shape(name) for name in ("left_bending", "right_bending")}
    for index, share in enumerate(patient.flexibilities):
        standing = tilts[index + 1] - tilts[index]
        side = "right_bending" if standing > 0 else "left_bending"
        bent = spine[side].tilts_deg[[levels[index], levels[index + 1]]]
        assert bent[1] - bent[0] == pytest.approx(standing * (1 - share))


def test_a_level_missing_on_the_bending_film_is_named() -> None:
    whole = from_cobb((4, 11), (30.0,)).vertebrae(1000.0, (300.0, 600.0))
    curve = measure_curves(whole)[0]
    with pytest.raises(ValueError, match="T5"):
        flexibility(curve, whole.subset(slice(5, 17)))
    with pytest.raises(ValueError, match="image-left"):
        flexibility(curve, whole, "left")
