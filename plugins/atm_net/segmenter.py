"""A network on whole slices: what training validates is what users run."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from spinecore.spine.lumbar.specks import without_specks

from .network import ATMNet
from .prompts import described, generic
from .slice_input import to_input
from .text import tokens

MODES = ("generic", "predicted")


class Segmenter:
    """Pixels (H, W) to probabilities and class indices.

    `mode`: "generic" prompts say nothing of the slice; "predicted" runs twice and describes the first result.
    """

    def __init__(self, model: ATMNet, mode: str = "generic", device: str = "cpu") -> None:
        if mode not in MODES:
            raise ValueError(f"prompts are {mode!r}; use one of {', '.join(MODES)}")
        self.model, self.device = model.eval().to(device), device
        self.mode = mode if model.config.text == "prompts" else "generic"

    @torch.inference_mode()
    def probabilities(self, pixels: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """(4, H, W): background, vertebrae, discs, canal; they add up to 1."""
        x = to_input(pixels).to(self.device).contiguous(memory_format=torch.channels_last)
        p = self._run(x, generic())
        if self.mode == "predicted":
            p = self._run(x, described(p.argmax(0)))
        return p

    def _run(self, x: torch.Tensor, prompts: tuple[str, ...]) -> NDArray[np.float32]:
        given = tokens(prompts)[None].to(self.device) if self.model.config.text == "prompts" else None
        p: NDArray[np.float32] = self.model(x, given).logits[0].float().softmax(0).cpu().numpy()
        return p

    def segment(self, pixels: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices (H, W), stray pieces of discs left out."""
        return without_specks(self.probabilities(pixels).argmax(0).astype(np.uint8))


def build_reader(model: torch.nn.Module, device: str = "cpu", prompts: str = "generic") -> Segmenter:
    """Factory named by the plugin's `ModelSpec.reader`."""
    if not isinstance(model, ATMNet):
        raise TypeError(f"build_reader: model is {type(model).__name__}; give an ATMNet")
    return Segmenter(model, prompts, device)
