from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import points_in_poly

from spinecore.spine import polygon_mask

coordinate = st.floats(-10, 50, allow_nan=False)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9))
@settings(deadline=None, max_examples=80)
def test_pixels_inside_agree_with_scikit_image(points: list[tuple[float, float]]) -> None:
    polygon = np.array(points)
    y, x = np.mgrid[:40, :30] + 0.5
    centers = np.stack([x.ravel(), y.ravel()], axis=1)
    edges = np.roll(polygon, -1, axis=0) - polygon
    # Points on an edge belong to either side: leave those within rounding out.
    offset = centers[:, None] - polygon[None]
    length = np.maximum(np.linalg.norm(edges, axis=1), 1e-12)
    away = np.abs(offset[..., 0] * edges[:, 1] - offset[..., 1] * edges[:, 0]) / length
    clear = ((away > 1e-6) | (length < 1e-9)).all(axis=1)
    ours = polygon_mask(polygon, 40, 30).ravel()
    theirs = np.asarray(points_in_poly(centers, polygon))
    np.testing.assert_array_equal(ours[clear], theirs[clear])


def test_a_rectangle_covers_exactly_its_pixels() -> None:
    mask = polygon_mask([(2, 3), (7, 3), (7, 9), (2, 9)], 12, 10)
    assert mask.sum() == 5 * 6
    assert mask[3:9, 2:7].all()


def test_bad_points_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        polygon_mask([(0, 0), (np.nan, 1), (1, 1)], 4, 4)
