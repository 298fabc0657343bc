from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spinecore.spine.lumbar.column import CANAL, DISCS, VERTEBRAE, find_column
from spinecore.spine.lumbar.levels import name_levels
from spinecore.spine.lumbar.measures import read_lumbar
from spinecore.spine.lumbar.specks import without_specks
from spinecore.spine.phantom.lumbar import lumbar_phantom


def true_height(corners: np.ndarray, share: float) -> float:
    """Distance between the end plates of a drawn part, at a share of its length from the front."""
    front_up, back_up, back_low, front_low = corners
    upper = front_up + share * (back_up - front_up)
    lower = front_low + share * (back_low - front_low)
    return float(np.hypot(*(upper - lower)))


@pytest.mark.parametrize("vertebrae", [5, 7, 9])
@pytest.mark.parametrize("seed", range(3))
def test_names_and_sizes_of_a_drawn_spine_are_exact(seed: int, vertebrae: int) -> None:
    phantom = lumbar_phantom(seed, vertebrae=vertebrae)
    found = read_lumbar(phantom.mask)
    assert found.levels.bodies == tuple(phantom.bodies)
    assert found.levels.discs == tuple(phantom.discs)
    assert found.levels.confidence == 0.9
    assert found.levels.why == ()
    for size in found.sizes:
        corners = (phantom.bodies if size.kind == "vertebra" else phantom.discs)[size.level]
        for value, share in ((size.front, 0.25), (size.middle, 0.5), (size.back, 0.75)):
            assert value == pytest.approx(true_height(corners, share), abs=1.2), size.level
        assert size.length == pytest.approx(float(np.hypot(*(corners[1] - corners[0]))), abs=1.0), size.level
        if size.kind == "disc":
            assert size.canal == pytest.approx(phantom.canal_width, abs=1.5), size.level


def test_sizes_follow_the_spacing() -> None:
    mask = lumbar_phantom(4).mask
    pixels, half = read_lumbar(mask).sizes, read_lumbar(mask, (0.5, 0.5)).sizes
    for a, b in zip(pixels, half, strict=True):
        assert (b.level, b.middle, b.length) == (
            a.level,
            pytest.approx(a.middle / 2),
            pytest.approx(a.length / 2),
        )
        assert b.area == pytest.approx(a.area / 4)


def test_pixels_that_are_not_square_change_no_size_by_more_than_they_are_long() -> None:
    phantom = lumbar_phantom(5)
    square = {size.level: size for size in read_lumbar(phantom.mask).sizes}
    flat = read_lumbar(phantom.mask[::2], (2.0, 1.0))
    assert flat.levels.discs == tuple(phantom.discs)
    for size in flat.sizes:
        assert size.middle == pytest.approx(square[size.level].middle, abs=2.0), size.level


def test_a_canal_that_leaves_the_slice_behind_a_disc_has_no_width_there() -> None:
    phantom = lumbar_phantom(3)
    mask = phantom.mask.copy()
    end = int(phantom.discs["L2/L3"][:, 1].mean())
    mask[:end][mask[:end] == CANAL] = 0
    widths = {size.level: size.canal for size in read_lumbar(mask).sizes if size.kind == "disc"}
    assert widths["L2/L3"] is None
    assert widths["L3/L4"] == pytest.approx(phantom.canal_width, abs=1.5)


def test_a_body_that_ends_with_the_scan_just_below_the_edge_is_partial() -> None:
    phantom = lumbar_phantom(3)
    top = next(iter(phantom.bodies.values()))
    start = int(0.4 * top[:2, 1].mean() + 0.6 * top[2:, 1].mean())
    mask = phantom.mask[start - 4 :].copy()
    mask[:4] = 0  # the dark edge of a scan whose geometry was corrected
    bodies = [size for size in read_lumbar(mask).sizes if size.kind == "vertebra"]
    assert [body.partial for body in bodies] == [True] + [False] * (len(bodies) - 1)
    assert not any(size.partial for size in read_lumbar(phantom.mask).sizes)


def below(mask: np.ndarray, corners: np.ndarray) -> int:
    return int(corners[:, 1].max()) + 1


def test_a_slice_that_ends_above_the_sacrum_names_nothing() -> None:
    phantom = lumbar_phantom(0)
    through_l4 = phantom.mask[: int(phantom.bodies["L4"][:, 1].mean())]
    levels = read_lumbar(through_l4).levels
    assert not levels.known
    assert set(levels.bodies) == set(levels.discs) == {""}
    assert "above the sacrum" in levels.why[0]
    cut_disc = phantom.mask[: int(phantom.discs["L4/L5"][:, 1].mean())]
    assert not read_lumbar(cut_disc).levels.known


def test_a_missed_disc_is_a_doubt_and_not_a_shift_without_a_word() -> None:
    phantom = lumbar_phantom(1)
    mask = phantom.mask.copy()
    region = phantom.discs["L2/L3"]
    rows = slice(int(region[:, 1].min()) - 2, int(region[:, 1].max()) + 3)
    mask[rows][mask[rows] == DISCS] = 0
    levels = read_lumbar(mask).levels
    assert levels.confidence < 0.5
    assert any("gap" in doubt for doubt in levels.why)


def test_a_remnant_within_the_sacrum_is_a_doubt() -> None:
    phantom = lumbar_phantom(2)
    mask = phantom.mask.copy()
    lowest = phantom.discs["L5/S1"]
    middle = lowest.mean(axis=0) + np.array([14.0, 55.0])
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    mask[(np.abs(x - middle[0]) < 13) & (np.abs(y - middle[1]) < 4)] = DISCS
    levels = read_lumbar(mask).levels
    assert levels.confidence < 0.5
    assert any("sacrum" in doubt for doubt in levels.why)


def test_specks_and_posterior_elements_are_no_discs_and_no_bodies() -> None:
    phantom = lumbar_phantom(3)
    mask = phantom.mask.copy()
    mask[20:23, 30:33] = DISCS
    mask[600:606, 40:46] = VERTEBRAE
    assert read_lumbar(mask).levels.discs == tuple(phantom.discs)


def test_stray_pieces_of_discs_are_left_out_and_nothing_else() -> None:
    mask = lumbar_phantom(3).mask
    strayed = mask.copy()
    strayed[20:26, 30:38] = DISCS
    strayed[40:43, 30:33], strayed[50:53, 30:33] = VERTEBRAE, CANAL
    expected = strayed.copy()
    expected[20:26, 30:38] = 0
    assert np.array_equal(without_specks(strayed), expected)
    assert np.array_equal(without_specks(mask), mask)
    assert not without_specks(np.zeros((8, 8), np.uint8)).any()


def test_what_lies_far_from_every_vertebra_is_no_disc() -> None:
    mask = lumbar_phantom(2, 320, 256, vertebrae=6).mask
    area = int((mask == DISCS).sum()) // 6
    side = round(area**0.5)
    strayed = mask.copy()
    strayed[-side - 2 : -2, 2 : 2 + side] = DISCS  # as large as a disc, in the belly
    assert not (mask[-3 * side :, : 3 * side] == VERTEBRAE).any()
    assert np.array_equal(without_specks(strayed), mask)
    alone = np.where(strayed == DISCS, strayed, 0).astype(np.uint8)
    assert np.array_equal(without_specks(alone), alone)


def test_an_empty_mask_has_no_column() -> None:
    column = find_column(np.zeros((64, 48), np.uint8))
    assert column.discs == ()
    levels = name_levels(column)
    assert not levels.known
    assert levels.why == ("no disc was found",)


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(32, 48), st.integers(32, 48)), elements=st.integers(0, CANAL)))
def test_any_mask_is_read_without_an_error(mask: np.ndarray) -> None:
    coarse = np.kron(mask[::8, ::8], np.ones((8, 8), np.uint8))
    for each in (mask, coarse):
        found = read_lumbar(each, (0.8, 0.6))
        assert len(found.levels.discs) == len(found.column.discs)
        for size in found.sizes:
            assert np.isfinite([size.front, size.middle, size.back, size.length, size.area]).all()
            assert min(size.front, size.middle, size.back) >= 0


def test_a_phantom_is_the_same_for_the_same_seed_and_says_what_it_draws() -> None:
    a, b = lumbar_phantom(6), lumbar_phantom(6)
    assert np.array_equal(a.pixels, b.pixels)
    assert set(np.unique(a.mask)) == {0, VERTEBRAE, DISCS, CANAL}
    assert a.pixels.dtype == np.float32
    assert 0 <= a.pixels.min() < a.pixels.max() <= 1
    assert not (lumbar_phantom(6, lateral=1.0).mask == CANAL).any()
    with pytest.raises(ValueError, match="vertebrae is 2"):
        lumbar_phantom(0, vertebrae=2)
