from __future__ import annotations

import numpy as np
import pytest

from spinecore.spine import LEVELS, FilmReading, Vertebrae, polygon_mask, region_of
from spinecore.spine.phantom import from_cobb


def spine() -> Vertebrae:
    return from_cobb((0, 4, 11, 16), (20.0, 45.0, 30.0)).vertebrae(1000.0, (300.0, 600.0))


def test_properties_of_a_hand_made_body() -> None:
    body = Vertebrae.from_corners([[[10, 20], [30, 24], [10, 30], [30, 34]]])
    assert body.levels == ("V1",)
    np.testing.assert_allclose(body.centers, [[20, 27]])
    np.testing.assert_allclose(body.midlines, [[[10, 25], [30, 29]]])
    np.testing.assert_allclose(body.tilts_deg, [np.degrees(np.arctan2(4, 20))])  # right side lower: positive
    np.testing.assert_allclose(body.widths, [np.hypot(20, 4)])
    np.testing.assert_allclose(body.heights, [10])


def test_seventeen_bodies_are_named_and_others_are_not() -> None:
    whole = spine()
    assert whole.levels == LEVELS
    assert LEVELS[0] == "T1"
    assert LEVELS[11] == "T12"
    assert LEVELS[-1] == "L5"
    assert Vertebrae.from_corners(whole.corners[:3]).levels == ("V1", "V2", "V3")
    assert whole.subset(slice(2, 4)).levels == ("T3", "T4")


def test_column_polygon_holds_bodies_and_gaps_and_nothing_else() -> None:
    whole = spine()
    outline = whole.column_polygon()
    assert outline.shape == (68, 2)
    column = polygon_mask(outline, 1200, 600)
    for corners in whole.corners:
        body = polygon_mask(corners[[0, 1, 3, 2]], 1200, 600)
        assert (column & body).sum() == body.sum()
    gaps = (whole.corners[:-1, 2:].mean(axis=1) + whole.corners[1:, :2].mean(axis=1)) / 2
    assert column[gaps[:, 1].astype(int), gaps[:, 0].astype(int)].all()
    assert not column[: int(whole.corners[..., 1].min()) - 1].any()


def test_mirroring_twice_and_scaling_back_return_the_same_corners() -> None:
    whole = spine()
    np.testing.assert_allclose(whole.mirrored(600).mirrored(600).corners, whole.corners)
    np.testing.assert_allclose(whole.scaled(0.3, 0.7).scaled(1 / 0.3, 1 / 0.7).corners, whole.corners)
    mirrored = whole.mirrored(600)
    assert (mirrored.corners[:, 0, 0] < mirrored.corners[:, 1, 0]).all()  # left is left again
    np.testing.assert_allclose(mirrored.tilts_deg, -whole.tilts_deg)


@pytest.mark.parametrize(
    ("corners", "levels", "confidence", "message"),
    [
        (np.zeros((2, 3, 2)), ("a", "b"), np.ones(2), r"\(n, 4, 2\)"),
        (np.full((1, 4, 2), np.nan), ("a",), np.ones(1), r"vertebrae \[0\]"),
        (np.zeros((2, 4, 2)), ("a",), np.ones(2), "2 levels"),
        (np.zeros((2, 4, 2)), ("a", "a"), np.ones(2), "once"),
        (np.zeros((1, 4, 2)), ("a",), np.array([1.2]), "0..1"),
    ],
)
def test_bad_input_is_refused_with_its_reason(
    corners: np.ndarray, levels: tuple[str, ...], confidence: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Vertebrae(corners, levels, confidence)


def test_arrays_are_copied_and_cannot_be_changed() -> None:
    corners = spine().corners.copy()
    kept = Vertebrae.from_corners(corners)
    corners[:] = 0
    assert kept.corners.any()
    with pytest.raises(ValueError):
        kept.corners[0] = 0


def test_a_grey_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="bool"):
        FilmReading(spine(), np.zeros((4, 4), dtype=np.uint8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("apex", "region"),
    [
        ("T3", "PT"),
        ("T5", "PT"),
        ("T6", "MT"),
        ("T11", "MT"),
        ("T12", "TL"),
        ("L1", "TL"),
        ("L2", "L"),
        ("L4", "L"),
        ("V3", ""),
    ],
)
def test_region_by_apex(apex: str, region: str) -> None:
    assert region_of(apex) == region
