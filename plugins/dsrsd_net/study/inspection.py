"""What is seen in the trained networks of a study: robustness, the state of the factors, transfer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..analysis import effective_rank, mean_correlation
from ..network import DSRSDNet
from ..samples import Samples
from ..training import score
from .methods import train_method
from .protocol import Study, check_split, figures
from .robustness import draw_robustness, robustness
from .tables import Rows, write_rows

Matrix = NDArray[np.float64]


class Inspection(NamedTuple):
    """Rows of robustness.csv, factors.csv and transfer.csv (the last only of a study of transfer)."""

    robustness: Rows
    factors: Rows
    transfer: Rows


def inspect(study: Study, methods: Sequence[str], seed: int) -> Inspection:
    """Train the networks `methods` on the first split of a seed and look at each."""
    split = study.splits(seed)[0]
    check_split(study.samples, split)
    found = Inspection([], [], [])
    for method in methods:
        model, samples = train_method(study, method, split, seed)
        test = samples.take(split.test)
        found.robustness.extend({"method": method, **row} for row in robustness(model, test, seed))
        if isinstance(model, DSRSDNet):
            found.factors.extend({"method": method, **row} for row in factor_rows(model, test))
        if study.transfer:
            for where, part in (("training domains", split.validation), ("test domain", split.test)):
                seen = samples.take(part)
                row = {"method": method, "people of": where}
                found.transfer.append(row | figures(seen, score(model, seen)))
    return found


def write_inspection(out: Path, found: Inspection) -> None:
    """Write the CSV files that have rows, and OUT/robustness.png."""
    for name, rows in found._asdict().items():
        if rows:
            write_rows(out / f"{name}.csv", rows)
    if found.robustness:
        draw_robustness(out / "robustness.png", found.robustness)


def factor_rows(model: DSRSDNet, samples: Samples, batch: int = 512) -> Rows:
    """A row a modality about its factors at the last step, among samples that have it.

    Mean absolute off-diagonal correlation and effective rank of s and of p, and the mean absolute correlation
    of the columns of s with those of p.
    """
    model.eval()
    shared, private = [], []
    with torch.no_grad():
        for begin in range(0, len(samples), batch):
            part = samples.batch(np.arange(begin, min(begin + batch, len(samples))))
            out = model(part.present, part.valid, *part.inputs)
            at = torch.arange(len(part))
            shared.append(out.shared[at, part.last])
            private.append(out.private[at, part.last])
    s, p = torch.cat(shared).double().numpy(), torch.cat(private).double().numpy()
    rows: Rows = []
    for m, modality in enumerate(samples.modalities):
        here = samples.present[:, m].numpy()
        own, other = s[here, m], p[here, m]
        rows.append(
            {
                "modality": modality.name,
                "correlation of s": mean_correlation(own),
                "rank of s": effective_rank(own),
                "correlation of p": mean_correlation(other),
                "rank of p": effective_rank(other),
                "correlation of s with p": _between(own, other),
                "factors": own.shape[1],
            }
        )
    return rows


def _between(a: Matrix, b: Matrix) -> float:
    a, b = ((x - x.mean(0)) / np.maximum(x.std(0), 1e-12) for x in (a, b))
    return float(np.abs(a.T @ b / len(a)).mean())
