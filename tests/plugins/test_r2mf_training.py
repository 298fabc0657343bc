from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore.plugins.r2mf_net.augment import Augmentation, random_view
from spinecore.plugins.r2mf_net.film_input import normalize, resize_film, to_normalised, to_pixels
from spinecore.plugins.r2mf_net.task import column_mask, draw_index
from spinecore.spine import is_crossed


def spots(points: torch.Tensor, h: int, w: int) -> torch.Tensor:
    """An image (1,1,h,w) with a Gaussian spot at each normalised point (K,2)."""
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    px, py = (points[:, 0] + 1) / 2 * w, (points[:, 1] + 1) / 2 * h
    d = (x - px.view(-1, 1, 1)) ** 2 + (y - py.view(-1, 1, 1)) ** 2
    return torch.exp(-d / 8).sum(0)[None, None]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_corners_move_with_the_film(seed: int) -> None:
    """Each corner lands on the spot that was drawn at it, whatever the view did (within 0.6 pixel)."""
    rng = np.random.default_rng(seed)
    points = torch.from_numpy(rng.uniform(-0.4, 0.4, (4, 2))).float()
    h, w = 384, 144
    corners = points.view(1, 1, 4, 2).expand(1, 17, 4, 2)
    quiet = Augmentation(gamma=0, contrast=0, noise=0, inversion=0, occlusion=0)
    for k in range(4):
        g = torch.Generator().manual_seed(seed)
        film = spots(points[k : k + 1], h, w)
        view, _, moved = random_view(film, film, corners, torch.tensor([w / h]), (h, w), g, quiet)
        heat = (view[0, 0] - view.median()).clamp_min(0)
        heat = torch.where(heat > 0.3 * heat.max(), heat, torch.zeros(()))
        y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
        center = torch.stack([(heat * x).sum(), (heat * y).sum()]) / heat.sum()
        targets = (moved[0, 0] + 1) / 2 * torch.tensor([w, h])
        inside = ((targets > 4) & (targets < torch.tensor([w - 4.0, h - 4.0]))).all(-1)
        distance = (targets - center).norm(dim=-1)
        if bool(inside.all()):
            assert float(distance.min()) < 0.6


def test_a_flipped_view_keeps_left_corners_on_the_left() -> None:
    body = torch.tensor([[-0.1, -0.02], [0.1, -0.02], [-0.1, 0.02], [0.1, 0.02]])
    shifts = torch.linspace(-0.6, 0.6, 17)
    corners = body + torch.stack([torch.zeros(17), shifts], 1)[:, None]
    film = torch.zeros(16, 1, 96, 36)
    g = torch.Generator().manual_seed(0)
    _, _, moved = random_view(film, film, corners.expand(16, 17, 4, 2), torch.full((16,), 0.37), (96, 36), g)
    for one in moved:
        assert not is_crossed(one.numpy()).any()


@given(step=st.integers(0, 500), seed=st.integers(0, 5))
def test_every_film_is_seen_once_an_epoch_and_shares_are_kept(step: int, seed: int) -> None:
    groups = [(5, 0.25), (19, 0.75)]
    one = draw_index(seed, step, 8, groups)
    assert one == draw_index(seed, step, 8, groups)
    assert sum(i < 5 for i in one) == 2
    assert all(0 <= i < 24 for i in one)
    epoch = [i for s in range(19) for i in draw_index(seed, s, 8, groups) if i >= 5]
    assert all(epoch.count(i) == 6 for i in range(5, 24))


def test_column_mask_is_the_polygon_through_left_and_right_corners() -> None:
    from skimage.draw import polygon2mask

    rng = np.random.default_rng(3)
    center = np.stack([100 + 20 * np.sin(np.linspace(0, 6, 17)), np.linspace(40, 460, 17)], 1)
    body = np.array([[-22.0, -9], [22, -9], [-22, 9], [22, 9]])
    corners = center[:, None] + body + rng.normal(0, 1, (17, 4, 2))
    drawn = column_mask(to_normalised(corners, 192, 512), 192, 512).numpy() > 127
    ring = np.concatenate([corners[:, (0, 2)].reshape(-1, 2), corners[::-1][:, (3, 1)].reshape(-1, 2)])
    truth = polygon2mask((512, 192), ring[:, ::-1] - 0.5)
    overlap = 2 * (drawn & truth).sum() / (drawn.sum() + truth.sum())
    assert overlap > 0.98


@given(
    width=st.integers(2, 3000),
    height=st.integers(2, 3000),
    x=st.floats(0, 3000),
    y=st.floats(0, 3000),
)
def test_coordinates_round_trip(width: int, height: int, x: float, y: float) -> None:
    point = np.array([x, y])
    np.testing.assert_allclose(
        to_pixels(to_normalised(point, width, height), width, height), point, atol=1e-9
    )


@pytest.mark.parametrize("shape", [(700, 300), (64, 64), (2, 5), (3000, 900)])
def test_input_ignores_brightness_and_contrast(shape: tuple[int, int]) -> None:
    """An affine change of grey values, as a window setting makes it, leaves the network's input as it was."""
    rng = np.random.default_rng(0)
    film = rng.random(shape, dtype=np.float32) * 0.5
    a = resize_film(film, 128, 64)
    b = resize_film((film * 0.6 + 0.3).astype(np.float32), 128, 64)
    torch.testing.assert_close(a, b, atol=2e-5, rtol=0)
    assert torch.isfinite(normalize(a[None, None])).all()


def test_blank_film_gives_finite_input() -> None:
    x = normalize(resize_film(np.zeros((50, 40), np.float32), 128, 64)[None, None])
    assert torch.isfinite(x).all()
