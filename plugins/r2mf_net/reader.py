"""R2MF-Net as a reader of films: pixels in, vertebrae and spine mask in original pixels out."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from spinecore.spine import LEVELS, FilmReading, Vertebrae

from .augment import MIRROR
from .decode import HeadMaps, decode_chain
from .film_input import cell_centers, normalize, resize_film, to_pixels
from .network import R2MFNet
from .vertebra_head import CENTER_MAP, LEVEL_MAPS, OFFSET_SCALE, OFFSETS, corners_at, expected_centers

LOW_CONFIDENCE = 0.45
"""Mean confidence below which the level names are called uncertain (5th percentile of validation films)."""


def _unmirror(maps: Tensor) -> Tensor:
    """Vertebra maps of the mirrored film, brought back to the film: flip x, swap left and right corners."""
    n, _, h, w = maps.shape
    maps = maps.flip(3)
    offsets = maps[:, OFFSETS].reshape(n, 4, 2, h, w)[:, MIRROR] * torch.tensor([-1.0, 1.0]).view(
        1, 1, 2, 1, 1
    )
    return torch.cat([maps[:, LEVEL_MAPS], offsets.flatten(1, 2), maps[:, CENTER_MAP:]], 1)


def between_end_plates(corners: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """(height, width): below the line of T1's upper endplate and above that of L5's lower one.

    The mask head sees no reason to stop at L5; the column by definition ends there.
    """
    x = np.arange(width) + 0.5
    y = (np.arange(height) + 0.5)[:, None]

    def depth(line: NDArray[np.float64]) -> NDArray[np.float64]:
        (x0, y0), (x1, y1) = line
        return np.asarray((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0), dtype=np.float64)

    return (depth(corners[0, :2]) >= 0) & (depth(corners[-1, 2:]) <= 0)


class R2MFReader:
    """Reads films with R2MF-Net; the result is the mean over the film and its mirror image.

    Args:
        model: network with vertebra head, weights loaded.
        device: where it runs.
        mirror: False saves half the time at a little accuracy.

    """

    def __init__(self, model: R2MFNet, device: str | torch.device = "cpu", *, mirror: bool = True) -> None:
        if not model.config.vertebra_head:
            raise ValueError("R2MFReader: this R2MF-Net has vertebra_head=False; levels and angles need it")
        self.device = torch.device(device)
        self.model = model.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mirror = mirror

    def read(self, pixels: list[NDArray[np.float32]]) -> list[FilmReading]:
        """Films (H, W) in 0..1, bone bright, of any sizes -> one reading each, in the film's own pixels."""
        if not pixels:
            return []
        config = self.model.config
        x = torch.stack([resize_film(p, config.height, config.width) for p in pixels])[:, None].to(
            self.device
        )
        mask, vertebrae = self._maps(x)
        return [
            self._reading(mask[i], vertebrae[i : i + 1], (p.shape[1], p.shape[0]))
            for i, p in enumerate(pixels)
        ]

    @torch.inference_mode()
    def _maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (N,h,w) and vertebra maps (N,26,h,w), averaged over mirror images, on the CPU."""
        masks: list[Tensor] = []
        maps: list[Tensor] = []
        for flipped in (False, True)[: 2 if self.mirror else 1]:
            view = x.flip(3) if flipped else x
            out = self.model(normalize(view).contiguous(memory_format=torch.channels_last))
            mask = (out.coarse if out.fine is None else out.fine).float().cpu()
            vertebrae = out.vertebrae.float().cpu()
            masks.append(mask.flip(3) if flipped else mask)
            maps.append(_unmirror(vertebrae) if flipped else vertebrae)
        return torch.stack(masks).mean(0)[:, 0], torch.stack(maps).mean(0)

    def _reading(self, mask: Tensor, maps: Tensor, size: tuple[int, int]) -> FilmReading:
        width, height = size
        config = self.model.config
        working = np.array([config.width, config.height])
        h, w = maps.shape[-2:]
        gy, gx = torch.meshgrid(cell_centers(h), cell_centers(w), indexing="ij")
        proposed = torch.stack([gx, gy], -1)[:, :, None] + maps[0, OFFSETS].permute(1, 2, 0).reshape(
            h, w, 4, 2
        ) * torch.tensor(OFFSET_SCALE)
        head = HeadMaps(
            level=F.log_softmax(maps[0, LEVEL_MAPS].flatten(1), 1).view(17, h, w).double().numpy(),
            center=F.log_softmax(maps[0, CENTER_MAP].flatten(), 0).view(h, w).double().numpy(),
            corners=to_pixels(proposed.double().numpy(), *working),
        )
        expected = corners_at(maps, expected_centers(maps))[0].double().numpy()
        chain = decode_chain(head, to_pixels(expected, *working))
        corners = chain.corners / working * np.array([width, height])
        flags: list[str] = []
        if not chain.complete:
            flags.append("vertebrae-incomplete")
        elif float(chain.confidence.mean()) < LOW_CONFIDENCE:
            flags.append("levels-uncertain")
        logits = F.interpolate(mask[None, None], size=(height, width), mode="bilinear", align_corners=False)
        column = (logits[0, 0] > 0).numpy()
        if chain.complete:
            column &= between_end_plates(corners, width, height)
        return FilmReading(Vertebrae(corners, LEVELS, chain.confidence), column, tuple(flags))


def build_reader(model: torch.nn.Module, device: str = "cpu") -> R2MFReader:
    """Factory named by the plugin's `ModelSpec.reader`."""
    if not isinstance(model, R2MFNet):
        raise TypeError(f"build_reader: model is {type(model).__name__}; give an R2MFNet")
    return R2MFReader(model, device)
