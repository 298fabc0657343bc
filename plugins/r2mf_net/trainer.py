"""The training task of R2MF-Net: films and phantoms in, validation by the reader that users run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from spinecore.metrics import dice, mae, smape_aasce
from spinecore.spine import aasce_angles
from spinecore.spine.phantom import POSITIONS, phantom_film

from .config import R2MFConfig
from .film_input import to_normalised
from .network import R2MFNet
from .reader import R2MFReader
from .task import FilmCache, R2MFTask, column_mask

PHANTOM_SEED = 1_000_000
"""Phantoms for training start here, far from the seeds of demo, selfcheck and tests."""


class Films(Protocol):
    """Annotated films: see `spinecore.training.films.AnnotatedFilms`."""

    names: tuple[str, ...]
    corners: NDArray[np.float64]
    angles: NDArray[np.float64]
    sizes: NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    pixels: Callable[[int], NDArray[np.float32]]


def validation_figures(
    reader: R2MFReader, films: Films, shown: list[NDArray[np.float32]]
) -> dict[str, float]:
    """Figures on the validation films, angles in degrees; every film counts."""
    found: list[NDArray[np.float64]] = []
    overlap: list[float] = []
    tilt: list[float] = []
    for k in range(0, len(shown), 4):
        for i, reading in zip(films.validation[k : k + 4], reader.read(shown[k : k + 4]), strict=True):
            width, height = films.sizes[i]
            found.append(aasce_angles(reading.vertebrae, float(height)))
            truth = column_mask(to_normalised(films.corners[i], width, height), int(width), int(height))
            assert reading.mask is not None
            overlap.append(dice(reading.mask, truth.numpy() > 127))
            tilt.append(float(np.abs(reading.vertebrae.tilts_deg - _tilts(films.corners[i])).mean()))
    angles, truth_angles = np.stack(found), films.angles[films.validation]
    error = angles[:, 0] - truth_angles[:, 0]
    return {
        "cobb_mae": mae(angles[:, 0], truth_angles[:, 0]),
        "cobb_bias": float(error.mean()),
        "within_5": float((np.abs(error) <= 5).mean() * 100),
        "smape": smape_aasce(angles, truth_angles),
        "tilt_mae": float(np.mean(tilt)),
        "dice": float(np.mean(overlap)),
    }


def _tilts(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    line = (corners[:, 1] + corners[:, 3] - corners[:, 0] - corners[:, 2]) / 2
    return np.degrees(np.arctan2(line[:, 1], line[:, 0]))


def film_task(
    films: Films,
    *,
    config: R2MFConfig | None = None,
    phantoms: int = 0,
    phantom_share: float = 0.125,
    batch: int = 8,
    seed: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> R2MFTask:
    """Load films into memory and make the task.

    Args:
        films: annotated films with their split.
        config: sizes; None is the default.
        phantoms: how many synthetic films join.
        phantom_share: share of each batch that is drawn from them.
        batch: films a step.
        seed: of everything random.
        progress: called with (what, done, total) while films load.

    """
    config = config or R2MFConfig()
    cache = FilmCache(config)
    for n in range(phantoms):
        film = phantom_film(PHANTOM_SEED + n, position=POSITIONS[n % len(POSITIONS)])
        cache.add(film.pixels, film.vertebrae.corners)
        if progress is not None:
            progress("phantoms", n + 1, phantoms)
    for n, i in enumerate(films.train):
        cache.add(films.pixels(int(i)), films.corners[i])
        if progress is not None:
            progress("films", n + 1, len(films.train))
    shown = [films.pixels(int(i)) for i in films.validation]

    def validate(model: R2MFNet) -> dict[str, float]:
        if not shown:
            return {}
        with torch.autocast("cpu", torch.bfloat16):
            return validation_figures(R2MFReader(model, mirror=False), films, shown)

    details = {
        "films": len(films.train),
        "phantoms": phantoms,
        "phantom_share": phantom_share if phantoms else 0.0,
        "constant_predictor": [float(a) for a in films.angles[films.train].mean(0)],
        "validation_films": [films.names[i] for i in films.validation],
    }
    return R2MFTask(
        config,
        cache,
        len(films.train),
        synthetic_share=phantom_share,
        batch=batch,
        seed=seed,
        validate=validate,
        details=details,
    )
