from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from spinecore.metrics import dice, iou, mean_overlap


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_agrees_with_scikit_learn(seed: int, share: float, other: float) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random((9, 7)) < share, rng.random((9, 7)) < other
    if not ours.any() and not theirs.any():
        assert math.isnan(dice(ours, theirs))
        assert math.isnan(iou(ours, theirs))
        return
    assert dice(ours, theirs) == pytest.approx(f1_score(theirs.ravel(), ours.ravel(), zero_division=0))
    assert iou(ours, theirs) == pytest.approx(jaccard_score(theirs.ravel(), ours.ravel(), zero_division=0))


def test_agrees_with_monai_where_monai_has_a_value() -> None:
    import torch
    from monai.metrics import compute_dice, compute_iou

    rng = np.random.default_rng(0)
    ours, theirs = rng.random((5, 20, 16)) < 0.4, rng.random((5, 20, 16)) < 0.5
    pair = torch.from_numpy(ours[:, None]).float(), torch.from_numpy(theirs[:, None]).float()
    for name, function in ((compute_dice, dice), (compute_iou, iou)):
        expected = name(*pair).numpy().ravel()
        found = [function(one, two) for one, two in zip(ours, theirs, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_missed_mask_scores_zero_and_counts_in_the_mean() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 2:5] = True
    empty = np.zeros_like(mask)
    values = [dice(mask, mask), dice(empty, mask), dice(mask, empty), dice(empty, empty)]
    assert values[:3] == [1.0, 0.0, 0.0]
    mean = mean_overlap(values)
    assert mean.mean == pytest.approx(1 / 3)
    assert (mean.scored, mean.both_empty) == (3, 1)
    assert math.isnan(mean_overlap([math.nan]).mean)
    assert iou(empty, mask) == iou(mask, empty) == 0.0


def test_probabilities_labels_and_other_shapes_are_refused() -> None:
    mask = np.ones((3, 3), dtype=bool)
    with pytest.raises(ValueError, match="threshold"):
        dice(mask, mask.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shape"):
        iou(mask, np.ones((3, 4), dtype=bool))
