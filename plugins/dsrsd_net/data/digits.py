"""UCI Multiple Features: 2,000 numerals in six real views, one vector modality a view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..config import ModalityConfig
from ..errors import TableError
from ..samples import Samples
from .files import read_matrix

VIEWS = ("fou", "zer", "mor", "kar", "pix", "fac")
WEAK = ("fou", "zer", "mor")


def load_digits(folder: Path, views: tuple[str, ...] = WEAK) -> Samples:
    """Views of the numerals as vectors; each numeral is its own group.

    Args:
        folder: holds mfeat-<view>.csv or .csv.gz, the last column the class.
        views: of `VIEWS`.

    """
    tables = [read_matrix(folder, f"mfeat-{view}.csv") for view in views]
    labels = tables[0][:, -1]
    for view, table in zip(views, tables, strict=True):
        if table.shape[0] != len(labels) or not np.array_equal(table[:, -1], labels):
            raise TableError(
                f"{folder}/mfeat-{view}.csv: rows do not pair with mfeat-{views[0]}.csv; copy both again"
            )
    classes = np.unique(labels)
    count = len(labels)
    return Samples(
        modalities=tuple(
            ModalityConfig(v, numeric=t.shape[1] - 1) for v, t in zip(views, tables, strict=True)
        ),
        inputs=tuple(torch.from_numpy(t[:, :-1].astype(np.float32)) for t in tables),
        present=torch.ones(count, len(views), dtype=torch.bool),
        valid=torch.ones(count, 1, dtype=torch.bool),
        outcome=torch.from_numpy(np.searchsorted(classes, labels)),
        steps=torch.full((count, 1), -1),
        group=torch.arange(count),
        domain=torch.zeros(count, dtype=torch.long),
        outcomes=tuple(f"{c:g}" for c in classes),
    )
