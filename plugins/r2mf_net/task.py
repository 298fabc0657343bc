"""Training of R2MF-Net on annotated films: batches, loss, validation figures, weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from spinecore.weights import write_card

from .augment import random_view
from .config import R2MFConfig
from .film_input import normalize, resize_film, to_normalised
from .loss import r2mf_loss
from .network import R2MFNet

CACHE_SCALE = 1.5
"""Films are kept at 1.5 x the working size, so that warping does not blur below it."""


def column_mask(corners: NDArray[np.float64], width: int, height: int) -> Tensor:
    """Column T1..L5 of normalised corners (17,4,2), drawn at (height, width) with antialiased edge."""
    from PIL import Image, ImageDraw

    over = 2
    points = (corners + 1) / 2 * np.array([width, height]) * over
    ring = np.concatenate([points[:, (0, 2)].reshape(-1, 2), points[::-1][:, (3, 1)].reshape(-1, 2)])
    image = Image.new("L", (width * over, height * over))
    ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in ring], fill=255)
    small = image.resize((width, height), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, dtype=np.uint8).copy())


class FilmCache:
    """Films, masks and normalised corners in memory as uint8: about 0.45 MB a film at the default size."""

    def __init__(self, config: R2MFConfig) -> None:
        self.height, self.width = int(config.height * CACHE_SCALE), int(config.width * CACHE_SCALE)
        self.films: list[Tensor] = []
        self.masks: list[Tensor] = []
        self.corners: list[Tensor] = []
        self.aspect: list[float] = []

    def add(self, pixels: NDArray[np.float32], corners: NDArray[np.float64]) -> None:
        """Add a film (H, W) in 0..1 with corners (17,4,2) in its pixels."""
        height, width = pixels.shape
        at = to_normalised(corners, width, height)
        self.films.append((resize_film(pixels, self.height, self.width) * 255).round().to(torch.uint8))
        self.masks.append(column_mask(at, self.width, self.height))
        self.corners.append(torch.from_numpy(at).float())
        self.aspect.append(width / height)

    def batch(self, index: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """films, masks (N,1,h,w) in 0..1, corners (N,17,4,2), aspect (N,)."""

        def images(of: list[Tensor]) -> Tensor:
            return torch.stack([of[i] for i in index])[:, None].float() / 255

        corners = torch.stack([self.corners[i] for i in index])
        return images(self.films), images(self.masks), corners, torch.tensor([self.aspect[i] for i in index])


def draw_index(seed: int, step: int, batch: int, groups: Sequence[tuple[int, float]]) -> list[int]:
    """Films of batch `step`. `groups` are (count, share of the batch); each is walked epoch by epoch.

    Depends on (seed, step) alone, so that a resumed run draws the same films.
    """
    chosen: list[int] = []
    first = 0
    left = batch
    for g, (count, share) in enumerate(groups):
        take = left if g == len(groups) - 1 else min(left, round(batch * share))
        left -= take
        for position in range(step * take, (step + 1) * take):
            epoch, place = divmod(position, count)
            order = np.random.default_rng([seed, g, epoch]).permutation(count)
            chosen.append(first + int(order[place]))
        first += count
    return chosen


def save_weights(model: R2MFNet, path: Path, figures: dict[str, float]) -> None:
    """Write weights as safetensors, atomically; configuration and validation `figures` go into the header."""
    state = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    config, found = json.dumps(asdict(model.config)), json.dumps(figures)
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"model": "r2mf_net", "config": config, "figures": found})
    partial.replace(path)


class R2MFTask:
    """Trains R2MF-Net on `films`, of which the last `real` are films and those before them phantoms.

    `synthetic_share` of each batch is drawn from the phantoms; `validate` gives the figures of the log.
    """

    def __init__(
        self,
        config: R2MFConfig,
        films: FilmCache,
        real: int,
        *,
        synthetic_share: float = 0.0,
        batch: int = 8,
        seed: int = 1,
        validate: Callable[[R2MFNet], dict[str, float]] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        if real < 1:
            raise ValueError("R2MFTask: no training films; check the data folder and the split")
        self.config, self.films, self.batch, self.seed = config, films, batch, seed
        phantoms = len(films.films) - real
        share = synthetic_share if phantoms else 0.0
        self.groups = [(phantoms, share), (real, 1 - share)] if share else [(real, 1.0)]
        self.first_real = phantoms if share else 0
        self.steps_per_epoch = max(1, round(real / (batch * (1 - share))))
        self._validate, self.details = validate, details or {}

    def build(self) -> nn.Module:
        """A freshly initialised network."""
        return R2MFNet(self.config)

    def loss(self, model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of batch `step`, drawn and warped anew from (seed, step)."""
        g = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        index = draw_index(self.seed, step, self.batch, self.groups)
        films, masks, corners, aspect = self.films.batch(index)
        size = (self.config.height, self.config.width)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            films, masks, corners = random_view(films, masks, corners, aspect, size, g)
            x = normalize(films).contiguous(memory_format=torch.channels_last)
        out = model(x)
        with torch.autocast("cpu", enabled=False):
            return r2mf_loss(out, masks, corners, size, g)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the validation films; empty when the task was made without them."""
        assert isinstance(model, R2MFNet)
        return self._validate(model) if self._validate is not None else {}

    def save(self, model: nn.Module, path: Path, figures: dict[str, float]) -> None:
        """Weights at `path`, and beside them their card (same name, .json)."""
        assert isinstance(model, R2MFNet)
        save_weights(model, path, figures)
        write_card(path, {"model": "r2mf_net", "validation": figures, **self.details})

    def describe(self) -> dict[str, Any]:
        """Options and data, for the record of the run."""
        return {"config": asdict(self.config), "batch": self.batch, "seed": self.seed, **self.details}
