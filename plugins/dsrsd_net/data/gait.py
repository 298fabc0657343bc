"""Ground-reaction-force curves of two feet (Slijepcevic et al. 2021): one vector modality a foot."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from ..config import ModalityConfig
from ..errors import TableError
from ..samples import Samples

FEET = ("affected", "unaffected")


def load_gait(folder: Path) -> Samples:
    """Trials with three force channels x 101 points a foot, in the set's own scale; all trials of a person
    are one group.
    """
    path = folder / "grf.npz"
    if not path.is_file():
        raise TableError(f"{path}: no such file; give the folder that holds grf.npz")
    try:
        with np.load(path, allow_pickle=False) as data:
            curves, label, subject = (
                data["feature"],
                data["label"].astype(np.int64),
                data["subject"].astype(np.int64),
            )
            channels, names = [str(c) for c in data["channels"]], tuple(str(n) for n in data["label_names"])
    except (KeyError, ValueError, OSError, BadZipFile) as e:
        raise TableError(f"{path}: {e}; take the official grf.npz") from e
    inputs = []
    for foot in FEET:
        at = [i for i, channel in enumerate(channels) if channel.startswith(f"{foot} ")]
        if not at:
            raise TableError(f"{path}: has no channel of the {foot} foot; it holds {', '.join(channels)}")
        inputs.append(
            torch.from_numpy(np.ascontiguousarray(curves[:, at].reshape(len(curves), -1), dtype=np.float32))
        )
    count = len(label)
    return Samples(
        modalities=tuple(ModalityConfig(f, numeric=x.shape[1]) for f, x in zip(FEET, inputs, strict=True)),
        inputs=tuple(inputs),
        present=torch.ones(count, 2, dtype=torch.bool),
        valid=torch.ones(count, 1, dtype=torch.bool),
        outcome=torch.from_numpy(label),
        steps=torch.full((count, 1), -1),
        group=torch.from_numpy(subject),
        domain=torch.zeros(count, dtype=torch.long),
        outcomes=names,
    )
