"""A network on whole slices: what training validates is what users run."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spinecore.spine.lumbar.specks import without_specks

from .errors import SliceError
from .prompted import PromptedNet
from .prompts import described, generic
from .slice_input import normalise, to_input
from .text import prompt_encoder

MODES = ("generic", "predicted")


class Segmenter:
    """Pixels (H, W) to probabilities and class indices.

    `mode`: "generic" prompts say nothing of the slice; "predicted" runs twice and describes the first result.
    """

    def __init__(self, model: PromptedNet, mode: str = "generic", device: str = "cpu") -> None:
        if mode not in MODES:
            raise ValueError(f"prompts are {mode!r}; use one of {', '.join(MODES)}")
        self.model, self.device = model.eval().to(device), device
        self.mode = mode if model.config.text == "prompts" else "generic"
        # A sentence encoder is needed for other prompts than the generic ones, which the network holds.
        needed = self.mode == "predicted" or not model.config.sentence_encoder
        self.encode = prompt_encoder(model.config) if model.config.text == "prompts" and needed else None

    @torch.inference_mode()
    def probabilities(self, pixels: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """(4, H, W): background, vertebrae, discs, canal; they add up to 1."""
        x = to_input(pixels).to(self.device).contiguous(memory_format=torch.channels_last)
        p = self._run(x, generic())
        if self.mode == "predicted":
            p = self._run(x, described(p.argmax(0)))
        return p

    def _run(self, x: torch.Tensor, prompts: tuple[str, ...]) -> NDArray[np.float32]:
        given = None if self.encode is None else self.encode(prompts)[None].to(self.device)
        p: NDArray[np.float32] = self.model(x, given).logits[0].float().softmax(0).cpu().numpy()
        return p

    def segment(self, pixels: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices (H, W), stray pieces of discs left out."""
        return without_specks(self.probabilities(pixels).argmax(0).astype(np.uint8))


class VolumeSegmenter(Segmenter):
    """The same for networks of volumes: overlapping patches, weighted by a Gaussian (MONAI)."""

    def __init__(self, model: PromptedNet, mode: str = "generic", device: str = "cpu") -> None:
        super().__init__(model, mode, device)
        try:
            inferers: Any = import_module("monai.inferers")
        except ImportError:
            raise SliceError(
                "a network of volumes needs MONAI: pip install 'spinecore-torch[monai]'"
            ) from None
        self._slide = inferers.sliding_window_inference

    def probabilities(self, pixels: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """(4, H, W) of one slice (H, W)."""
        return self.volume_probabilities(pixels[None])[:, 0]

    @torch.inference_mode()
    def volume_probabilities(self, pixels: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """(4, S, H, W) of slices (S, H, W)."""
        flat = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).flatten(0, 1)
        x = normalise(flat).view(1, 1, *pixels.shape).to(self.device)
        p = self._run(x, generic())
        if self.mode == "predicted":
            p = self._run(x, described(p[:, p.shape[1] // 2].argmax(0)))
        return p

    def _run(self, x: torch.Tensor, prompts: tuple[str, ...]) -> NDArray[np.float32]:
        given = None if self.encode is None else self.encode(prompts)[None].to(self.device)
        patch = self.model.config.patch
        p = self._slide(x, patch, 1, lambda part: self.model(part, given).logits.softmax(1), 0.5, "gaussian")
        found: NDArray[np.float32] = p[0].float().cpu().numpy()
        return found


def build_reader(model: torch.nn.Module, device: str = "cpu", prompts: str = "generic") -> Segmenter:
    """Factory named by the plugin's `ModelSpec.reader`."""
    if not isinstance(model, PromptedNet):
        raise TypeError(f"build_reader: model is {type(model).__name__}; give an ATMNet")
    return (Segmenter if model.config.dims == 2 else VolumeSegmenter)(model, prompts, device)
