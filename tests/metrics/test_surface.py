from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spinecore.metrics import assd, hd95, is_missed, mean_surface


def blob(seed: int, shape: tuple[int, int] = (60, 40)) -> NDArray[np.bool_]:
    """A union of two ellipses inside the image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, dtype=bool)
    for _ in range(2):
        cy, cx = rng.uniform(18, shape[0] - 18), rng.uniform(14, shape[1] - 14)
        ry, rx = rng.uniform(4, 12, size=2)
        mask |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
    return mask


@given(st.integers(0, 5_000), st.sampled_from([(1.0, 1.0), (0.5, 2.0)]))
@settings(deadline=None, max_examples=40)
def test_agrees_with_monai(seed: int, spacing: tuple[float, float]) -> None:
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    ours, theirs = blob(seed), blob(seed + 7_000)
    pair = torch.from_numpy(ours[None, None]).float(), torch.from_numpy(theirs[None, None]).float()
    options = {"include_background": True, "spacing": spacing}
    expected = float(compute_hausdorff_distance(*pair, percentile=95, **options))
    assert hd95(ours, theirs, spacing) == pytest.approx(expected, rel=1e-5)
    mean = float(compute_average_surface_distance(*pair, symmetric=True, **options))
    assert assd(ours, theirs, spacing) == pytest.approx(mean, rel=1e-5)


@given(st.integers(0, 5_000))
@settings(deadline=None, max_examples=30)
def test_agrees_with_surface_distance_to_a_pixel(seed: int) -> None:
    from surface_distance import compute_robust_hausdorff, compute_surface_distances

    ours, theirs = blob(seed), blob(seed + 7_000)
    surfaces = compute_surface_distances(theirs, ours, (1.0, 1.0))  # its borders run between pixels
    assert hd95(ours, theirs) == pytest.approx(compute_robust_hausdorff(surfaces, 95), abs=1.5)


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_shifted_rectangle_is_off_by_its_shift(step: int) -> None:
    from surface_distance import compute_robust_hausdorff, compute_surface_distances

    mask = np.zeros((60, 40), dtype=bool)
    mask[10:40, 10:20] = True
    moved = np.roll(mask, step, axis=0)
    assert hd95(mask, moved) == pytest.approx(step)
    surfaces = compute_surface_distances(mask, moved, (1.0, 1.0))
    assert hd95(mask, moved) == pytest.approx(compute_robust_hausdorff(surfaces, 95))
    assert hd95(mask, moved, spacing=(0.2, 1.0)) == pytest.approx(0.2 * step)
    assert hd95(mask, mask) == assd(mask, mask) == 0.0


def test_directions_are_not_pooled() -> None:
    """A far speck in one mask only: its share decides in its own direction, not in both together."""
    reference = np.zeros((80, 80), dtype=bool)
    reference[10:14, 10:14] = True
    prediction = reference.copy()
    prediction[60:62, 60:62] = True
    assert hd95(prediction, reference) > 60
    assert hd95(prediction, reference) == hd95(reference, prediction)


def test_missed_masks_cost_the_diagonal_and_are_counted() -> None:
    mask = blob(1)
    empty = np.zeros_like(mask)
    for one, two in ((empty, mask), (mask, empty)):
        assert hd95(one, two) == assd(one, two) == pytest.approx(math.hypot(60, 40))
        assert is_missed(one, two)
    assert hd95(empty, mask, (0.5, 0.5)) == pytest.approx(math.hypot(30, 20))
    assert math.isnan(hd95(empty, empty))
    pairs = [(mask, mask), (empty, mask), (empty, empty)]
    mean = mean_surface([hd95(*pair) for pair in pairs], [is_missed(*pair) for pair in pairs])
    assert mean.mean == pytest.approx(math.hypot(60, 40) / 2)
    assert (mean.scored, mean.missed, mean.both_empty) == (2, 1, 1)


def test_the_trap_of_monai_is_not_ours() -> None:
    """MONAI leaves a missed structure out of its mean and can report 0 for it."""
    import torch
    from monai.metrics import HausdorffDistanceMetric

    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 5:9, 5:9] = 1
    metric = HausdorffDistanceMetric(include_background=True, percentile=95)
    metric(torch.zeros_like(mask), mask)
    theirs = float(metric.aggregate())
    missed = mask[0, 0].numpy() > 0
    assert not theirs > 0
    assert hd95(np.zeros_like(missed), missed) == pytest.approx(math.hypot(20, 20))


def test_masks_at_the_edge_of_the_film_have_a_border_there() -> None:
    full = np.ones((10, 10), dtype=bool)
    half = full.copy()
    half[:, 5:] = False
    assert hd95(full, half) == pytest.approx(5.0)


def test_bad_spacing_is_refused() -> None:
    with pytest.raises(ValueError, match="2 positive"):
        hd95(blob(1), blob(2), (1.0, 0.0))
