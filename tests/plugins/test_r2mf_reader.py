from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore.plugins.r2mf_net.config import R2MFConfig
from spinecore.plugins.r2mf_net.decode import HeadMaps, decode_chain
from spinecore.plugins.r2mf_net.example import SMALL
from spinecore.plugins.r2mf_net.network import R2MFNet
from spinecore.plugins.r2mf_net.reader import R2MFReader, _unmirror, between_end_plates
from spinecore.spine import LEVELS

H, W = 128, 48


def ideal_maps(corners: np.ndarray, spurious: int = 0, seed: int = 0) -> HeadMaps:
    """Maps of a perfect head for corners (17,4,2) in grid cells, with extra peaks outside the spine."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W] + 0.5
    centers = corners.mean(1)

    def log_density(points: np.ndarray, weight: np.ndarray) -> np.ndarray:
        d = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
        density = (np.exp(-d / 2) * weight).sum(-1) + 1e-12
        return np.log(density / density.sum())

    level = np.stack([log_density(c[None], np.ones(1)) for c in centers])
    extra = np.stack([rng.uniform(1, 6, spurious), rng.uniform(5, H - 5, spurious)], 1)
    everything = np.concatenate([centers, extra])
    weights = np.concatenate([np.ones(17), np.full(spurious, 0.5)])
    nearest = ((x[..., None] - centers[:, 0]) ** 2 + (y[..., None] - centers[:, 1]) ** 2).argmin(-1)
    offsets = (corners - centers[:, None])[nearest]
    return HeadMaps(level, log_density(everything, weights), np.stack([x, y], -1)[:, :, None] + offsets)


def spine(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 17)
    x = W / 2 + rng.uniform(2, 6) * np.sin(rng.uniform(3, 7) * t + rng.uniform(0, 6))
    y = np.linspace(10, H - 10, 17) + rng.normal(0, 0.2, 17)
    tilt = np.arctan(np.gradient(x, y))
    body = np.array([[-4.0, -2.6], [4, -2.6], [-4, 2.6], [4, 2.6]])
    turn = np.stack(
        [np.stack([np.cos(tilt), np.sin(tilt)], 1), np.stack([-np.sin(tilt), np.cos(tilt)], 1)], 1
    )
    return np.stack([x, y], 1)[:, None] + np.einsum("kc,ncd->nkd", body, turn)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), spurious=st.integers(0, 12))
def test_chain_finds_all_seventeen_bodies_among_spurious_peaks(seed: int, spurious: int) -> None:
    truth = spine(seed)
    chain = decode_chain(ideal_maps(truth, spurious, seed), np.zeros((17, 4, 2)))
    assert chain.complete
    assert np.abs(chain.corners - truth).max() < 1.0
    assert chain.confidence.min() > 0.3


def test_too_few_peaks_fall_back_and_say_so() -> None:
    truth = spine(1)
    maps = ideal_maps(truth)
    flat = HeadMaps(maps.level, np.full((H, W), -np.log(H * W)), maps.corners)
    fallback = truth + 1
    chain = decode_chain(flat, fallback)
    assert not chain.complete
    assert (chain.corners == fallback).all()
    assert (chain.confidence == 0).all()


def test_mirrored_maps_come_back() -> None:
    maps = torch.randn(2, 26, 8, 6)
    torch.testing.assert_close(_unmirror(_unmirror(maps)), maps)


@pytest.mark.parametrize("shape", [(700, 260), (300, 300), (2001, 777)])
def test_reading_is_in_the_films_own_pixels(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    film = np.random.default_rng(0).random(shape, dtype=np.float32)
    (reading,) = R2MFReader(R2MFNet(SMALL)).read([film])
    assert reading.mask is not None
    assert reading.mask.shape == shape
    assert reading.vertebrae.levels == LEVELS
    assert reading.vertebrae.corners.shape == (17, 4, 2)


def test_films_of_different_sizes_read_together_as_alone() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    films = [rng.random(s, dtype=np.float32) for s in ((400, 150), (333, 201))]
    reader = R2MFReader(R2MFNet(SMALL))
    together = reader.read(films)
    for film, expected in zip(films, together, strict=True):
        (alone,) = reader.read([film])
        np.testing.assert_allclose(alone.vertebrae.corners, expected.vertebrae.corners, atol=1e-3)
    assert reader.read([]) == []


def test_a_network_without_vertebra_head_is_refused() -> None:
    with pytest.raises(ValueError, match="vertebra_head"):
        R2MFReader(R2MFNet(R2MFConfig(**{**SMALL.__dict__, "vertebra_head": False})))


def test_the_mask_ends_at_the_first_and_last_end_plate() -> None:
    corners = np.array([[[40.0, 20], [60, 24], [40, 30], [60, 34]], [[40, 70], [60, 66], [40, 80], [60, 76]]])
    kept = between_end_plates(corners, 100, 100)
    for x, y, inside in ((50, 21, False), (50, 23, True), (10, 15, True), (50, 77, True), (50, 79, False)):
        assert kept[y, x] == inside
