from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spinecore.spine import measure_centerline, measure_curves, polygon_mask
from spinecore.spine.phantom import from_cobb
from spinecore.spine.selfcheck import band_mask

HEIGHT, WIDTH, TOP, HALF = 1500, 1000, 50, 40.0


def sinusoid(
    length: int, steepness: float, waves: float, noise: float = 0.0, seed: int = 0
) -> NDArray[np.bool_]:
    """Band round x = A sin(2 pi y / period) with A / period = steepness: Cobb 2 atan(2 pi steepness)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    period = length / waves
    phase = 2 * np.pi * (y - TOP) / period
    center = WIDTH / 2 + steepness * period * np.sin(phase)
    across = (x - center) * np.cos(np.arctan(2 * np.pi * steepness * np.cos(phase)))
    edges = np.random.default_rng(seed).normal(0, noise, (2, HEIGHT, 1))
    band = (across < HALF + edges[0]) & (across > -HALF + edges[1])
    return np.asarray(band & (y > TOP) & (y < TOP + length))


@pytest.mark.parametrize("steepness", [0.02, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("length", [900, 1400])
@pytest.mark.parametrize("waves", [0.5, 1.0, 1.5])
def test_sinusoid_within_1_degree_and_2_with_a_noisy_border(
    steepness: float, length: int, waves: float
) -> None:
    truth = 2 * np.degrees(np.arctan(2 * np.pi * steepness))
    clean = measure_centerline(sinusoid(length, steepness, waves))
    assert clean[0].cobb_deg == pytest.approx(truth, abs=1.0)
    for seed in range(3):
        noisy = measure_centerline(sinusoid(length, steepness, waves, noise=1.0, seed=seed))
        assert noisy[0].cobb_deg == pytest.approx(truth, abs=2.0)
        assert noisy[0].severity == clean[0].severity or abs(truth - noisy[0].cobb_deg) < 2.0


def test_curves_of_an_s_alternate_and_have_no_levels() -> None:
    curves = measure_centerline(sinusoid(1400, 0.1, 1.0))
    assert len(curves) == 2
    assert {curve.convexity for curve in curves} == {"image-left", "image-right"}
    by_height = sorted(curves, key=lambda curve: curve.upper_line[:, 1].mean())
    assert by_height[0].convexity == "image-right"  # sin starts to the right
    assert all(
        curve.upper_level == curve.lower_level == curve.apex_level == curve.region == "" for curve in curves
    )
    assert all(curve.definition == "centerline_tangent" for curve in curves)


@pytest.mark.parametrize("cobb", [15.0, 35.0, 60.0])
def test_a_mask_of_vertebrae_is_measured_like_its_vertebrae(cobb: float) -> None:
    spine = from_cobb((0, 4, 11, 16), (cobb / 2, cobb, cobb / 2)).vertebrae(1400.0, (400.0, 750.0))
    mask = polygon_mask(spine.column_polygon(), 1500, 800)
    midbody = measure_curves(spine)[0]
    line = measure_centerline(mask)[0]
    assert line.cobb_deg == pytest.approx(midbody.cobb_deg, abs=2.0)
    assert line.convexity == midbody.convexity


def test_specks_holes_and_gaps_do_not_move_the_line() -> None:
    mask = sinusoid(1400, 0.08, 1.0)
    truth = measure_centerline(mask)[0].cobb_deg
    flawed = mask.copy()
    flawed[300:312] = False  # a gap across the whole column
    flawed[700:740, 20:60] = True  # a blob beside it
    flawed[1490:1498, 300:310] = True  # and one below
    assert measure_centerline(flawed)[0].cobb_deg == pytest.approx(truth, abs=0.3)


def test_mirroring_a_mask_swaps_the_side() -> None:
    mask = sinusoid(1400, 0.08, 0.5)
    before, after = measure_centerline(mask)[0], measure_centerline(mask[:, ::-1])[0]
    assert after.cobb_deg == pytest.approx(before.cobb_deg, abs=0.01)
    assert {before.convexity, after.convexity} == {"image-left", "image-right"}


def test_resolution_hardly_matters() -> None:
    large = measure_centerline(band_mask(from_cobb((4, 12), (40.0,)), 2400, 1000, 90.0))[0].cobb_deg
    small = measure_centerline(band_mask(from_cobb((4, 12), (40.0,)), 600, 250, 22.5))[0].cobb_deg
    assert small == pytest.approx(large, abs=0.5)


def test_empty_tiny_and_grey_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="0 rows"):
        measure_centerline(np.zeros((50, 50), dtype=bool))
    with pytest.raises(ValueError, match="too small"):
        measure_centerline(np.eye(50, dtype=bool)[:10])
    with pytest.raises(ValueError, match="bool"):
        measure_centerline(np.ones((50, 50), dtype=np.uint8))  # type: ignore[arg-type]
