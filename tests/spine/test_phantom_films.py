from __future__ import annotations

import numpy as np
import pytest

from spinecore.spine import DEFINITIONS, LEVELS, measure_centerline, measure_curves, polygon_mask
from spinecore.spine.phantom import POSITIONS, PhantomFilm, phantom_film, phantom_patient


@pytest.mark.parametrize("seed", range(6))
def test_a_film_holds_its_truth(seed: int) -> None:
    film = phantom_film(seed, height=768, width=320)
    assert film.pixels.shape == film.mask.shape == (768, 320)
    assert film.pixels.dtype == np.float32
    assert film.mask.dtype == np.bool_
    assert np.isfinite(film.pixels).all()
    assert film.pixels.min() >= 0
    assert film.pixels.max() <= 1
    assert film.pixels.std() > 0.05
    corners = film.vertebrae.corners
    assert film.vertebrae.levels == LEVELS
    assert (corners >= 0).all()
    assert (corners <= [320, 768]).all()
    for definition in ("srs_endplate", "aasce_midbody"):
        assert measure_curves(film.vertebrae, definition)[0].cobb_deg == pytest.approx(
            film.cobb_deg[definition], abs=1e-6
        )
    assert set(film.cobb_deg) == set(DEFINITIONS)
    assert measure_centerline(film.mask)[0].cobb_deg == pytest.approx(
        film.cobb_deg["centerline_tangent"], abs=2.0
    )


def _contrast(film: PhantomFilm) -> float:
    """Median brightness of bodies against that of the discs between them: what a reader sees."""
    height, width = film.pixels.shape
    bodies = np.zeros_like(film.mask)
    for quad in film.vertebrae.corners:
        bodies |= polygon_mask(quad[[0, 1, 3, 2]], height, width)
    return float(np.median(film.pixels[bodies]) - np.median(film.pixels[film.mask & ~bodies]))


@pytest.mark.parametrize("seed", range(4))
def test_bodies_are_brighter_than_discs_and_darker_when_inverted(seed: int) -> None:
    plain = phantom_film(seed, height=768, width=320)
    inverted = phantom_film(seed, height=768, width=320, inverted=True)
    assert _contrast(plain) > 0.01
    np.testing.assert_allclose(inverted.pixels, 1 - plain.pixels)
    assert inverted.inverted


def test_the_same_seed_gives_the_same_film_and_another_another() -> None:
    one, same, other = (phantom_film(seed, height=256, width=110) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.pixels, same.pixels)
    assert one.name == same.name
    assert not np.array_equal(one.pixels, other.pixels)


def test_three_positions_of_one_patient() -> None:
    films = phantom_patient(11, height=512, width=220, kind="thoracic")
    assert tuple(films) == POSITIONS
    assert len({film.name for film in films.values()}) == 3
    standing = measure_curves(films["coronal"].vertebrae)[0]
    towards = "right_bending" if standing.convexity == "image-right" else "left_bending"
    away = "left_bending" if towards == "right_bending" else "right_bending"

    def angle(position: str) -> float:
        tilt = films[position].vertebrae.tilts_deg
        ends = [LEVELS.index(standing.upper_level), LEVELS.index(standing.lower_level)]
        return float(abs(tilt[ends[1]] - tilt[ends[0]]))

    assert angle(towards) < 0.9 * standing.cobb_deg
    assert angle(away) > standing.cobb_deg


@pytest.mark.parametrize(("height", "width"), [(2360, 854), (640, 352), (400, 120)])
def test_any_size_and_aspect_keeps_the_angles(height: int, width: int) -> None:
    film = phantom_film(2, height=height, width=width, position="left_bending")
    assert (film.vertebrae.corners >= 0).all()
    assert (film.vertebrae.corners <= [width, height]).all()
    assert measure_curves(film.vertebrae)[0].cobb_deg == pytest.approx(film.cobb_deg["aasce_midbody"])


def test_senseless_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="64 x 32"):
        phantom_film(0, height=20, width=20)
