"""Training of ATM-Net on annotated volumes: `images/` and `masks/` with the same names, MHA, NIfTI or NRRD.

Names start with the patient (`12_t2.mha`), as in SPIDER. Volumes are turned to sagittal slices and brought to
`PIXEL_MM` within them; slices stay as they are.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from spinecore.spine.lumbar.label_maps import LABEL_MAPS, to_classes

from .augment import random_view
from .errors import SliceError
from .evaluation import figures
from .prompted import PromptedNet
from .prompts import generic
from .segmenter import VolumeSegmenter
from .slice_input import normalise
from .spider import split_patients
from .task import SliceTask

SUFFIXES = (".mha", ".nii.gz", ".nii", ".nrrd")
PIXEL_MM = 0.47
"""That of SPIDER's T2 SPACE slices; `spinecore segment` brings slices to it as well."""
SAGITTAL = "PIL"
SEEN = 0.7
"""Share of the patches that have a structure in their middle (our choice)."""


class VolumeTask(SliceTask):
    """Trains on patches of volumes; a share of the patients validates.

    `labels` in the configuration names the label map of the masks: spider (the default) or mrspineseg.
    """

    def __init__(self, data: Path, *, config: dict[str, Any] | None = None, batch: int = 4, **options: Any):
        fields = dict(config or {})
        self.labels = fields.pop("labels", "spider")
        if self.labels not in LABEL_MAPS:
            raise SliceError(
                f"configuration: labels is {self.labels!r}; use one of {', '.join(sorted(LABEL_MAPS))}"
            )
        super().__init__(data, config=fields, batch=batch, **options)

    def load(self, data: Path, every: int) -> None:
        """Volumes and split."""
        paths = sorted(p for p in (data / "images").glob("*") if p.name.lower().endswith(SUFFIXES))
        if not paths:
            raise SliceError(
                f"{data / 'images'}: no volumes there; give a folder with images/ and masks/ of "
                f"{', '.join(SUFFIXES)}"
            )
        self.images: list[Tensor] = []
        self.masks: list[NDArray[np.uint8]] = []
        for path in paths:
            image, mask = self._read(path, data / "masks" / path.name)
            self.images.append(image)
            self.masks.append(mask)
        patients = [path.name.split("_")[0].split(".")[0] for path in paths]
        self.training, self.held = split_patients(patients)
        self.train = np.array([i for i, patient in enumerate(patients) if patient in self.training])
        self.validation = [i for i, patient in enumerate(patients) if patient in self.held][::every]
        self.enough(data, "volumes")

    def _read(self, image: Path, mask: Path) -> tuple[Tensor, NDArray[np.uint8]]:
        """Grey values as `normalise` gives them (S, H, W), and class indices."""
        grey, spacing = _sagittal(image)
        labels, _ = _sagittal(mask)
        if grey.shape != labels.shape:
            raise SliceError(f"{image}: is {grey.shape}, its mask {labels.shape}; both must have one size")
        try:
            classes = to_classes(labels.astype(np.int64), LABEL_MAPS[self.labels])
        except ValueError as e:
            raise SliceError(f"{mask}: {e}; it was read as {self.labels}") from e
        size = [max(32, round(n * mm / PIXEL_MM)) for n, mm in zip(grey.shape[1:], spacing, strict=True)]
        pixels = torch.from_numpy(grey)[:, None]
        pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)[:, 0]
        drawn = F.interpolate(torch.from_numpy(classes)[:, None], size, mode="nearest-exact")[:, 0]
        return normalise(pixels.flatten(0, 1)).view(pixels.shape), drawn.numpy()

    def inputs(self, chosen: NDArray[np.int64], g: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random patch (B, 1, S, H, W) of each volume and its labels (B, S, H, W)."""
        parts = [self._patch(self.images[i], self.masks[i], g) for i in chosen]
        images, labels = (torch.stack(list(stack)) for stack in zip(*parts, strict=True))
        moved, labels = random_view((images + 1) / 2, labels, g)
        return (2 * moved - 1).clamp(-3, 3)[:, None], labels

    def _patch(self, image: Tensor, mask: NDArray[np.uint8], g: torch.Generator) -> tuple[Tensor, Tensor]:
        patch = self.config.patch
        margin = [max(0, want - have) for want, have in zip(patch, image.shape, strict=True)]
        wide = [side for side in reversed(margin) for side in (0, side)]
        padded, labels = F.pad(image, wide, value=-1.0), F.pad(torch.from_numpy(mask), wide)
        middle = [int(torch.randint(side, (1,), generator=g)) for side in padded.shape]
        drawn = torch.nonzero(labels)
        if len(drawn) and float(torch.rand(1, generator=g)) < SEEN:
            middle = drawn[int(torch.randint(len(drawn), (1,), generator=g))].tolist()
        at = tuple(
            slice(start := min(max(0, m - size // 2), side - size), start + size)
            for m, size, side in zip(middle, patch, padded.shape, strict=True)
        )
        return padded[at], labels[at].long()

    def prompts(self, labels: Tensor, g: torch.Generator) -> Tensor | None:
        """Those of the middle slices."""
        return super().prompts(labels[:, labels.shape[1] // 2], g)

    def validate(self, model: PromptedNet) -> dict[str, float]:
        """Dice on slices of volumes of held patients, with generic prompts."""
        segmenter = VolumeSegmenter(model)
        found: list[NDArray[np.uint8]] = []
        truth: list[NDArray[np.uint8]] = []
        for i in self.validation:
            p = segmenter.volume_probabilities(self.images[i].numpy())
            found.extend(p.argmax(0).astype(np.uint8))
            truth.extend(self.masks[i])
        return figures(found, truth)

    def describe(self) -> dict[str, Any]:
        """What a resumed run must share with the one it goes on."""
        described = super().describe()
        described["volumes"] = described.pop("slices")
        return {**described, "labels": self.labels, "generic": list(generic())}


def _sagittal(path: Path) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Slices (S, H, W), front to the left, head up, and the size of a pixel down and across in mm."""
    try:
        itk: Any = import_module("SimpleITK")
    except ImportError:
        raise SliceError(f"{path}: needs SimpleITK: pip install 'spinecore-torch[mri]'") from None
    if not path.is_file():
        raise SliceError(f"{path}: is missing; masks are named like their images")
    try:
        image = itk.DICOMOrient(itk.ReadImage(str(path), itk.sitkFloat32), SAGITTAL)
    except RuntimeError as e:
        reason = str(e).strip().splitlines()[-1].strip()[-200:]
        raise SliceError(f"{path}: not a readable volume ({reason}); copy it again") from None
    across, down, _ = image.GetSpacing()
    return itk.GetArrayFromImage(image), (down, across)
