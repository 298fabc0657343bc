"""Probes on a set whose factors are known: what each stream holds of its own factors and of the other's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..analysis import effective_rank, mean_correlation, probe_r2
from ..config import DSRSDConfig
from ..network import DSRSDNet
from ..samples import split_groups
from ..synthetic import KnownFactors, known_factors
from ..training import FitOptions, fit

STRONG: dict[str, Any] = {
    "width": 128, "factors": 8, "layers": 0, "dropout": 0.0, "projection": "hard", "modality_dropout": 0.0,
    "align": 1.0, "decorrelation": 0.5, "variance": 1.0, "orthogonality": 10.0, "private_spread": 1.0,
}  # fmt: skip
"""Weights that separate; those that predict best on real sets are weaker."""

VARIANTS: dict[str, dict[str, Any]] = {
    "hard projection": {},
    "soft projection": {"projection": "soft"},
    "no alignment": {"align": 0.0},
    "no decorrelation": {"decorrelation": 0.0},
    "no variance": {"variance": 0.0},
    "no orthogonality": {"orthogonality": 0.0},
}


def known_set() -> KnownFactors:
    """Two views of 40 columns with 8 shared and 8 private factors each, 4,000 samples."""
    return known_factors(4000, shared=8, private=8, columns=40)


def probe_known(variant: str, known: KnownFactors | None = None, *, epochs: int = 60) -> list[dict[str, Any]]:
    """Train one of `VARIANTS` and probe people that it was not trained on; a row a view.

    R2 of linear probes from the shared factor s and the private one p to the factors behind the data; mean
    off-diagonal correlation and effective rank of s.
    """
    known = known or known_set()
    samples = known.samples
    train, test = split_groups(samples.group, 0.4, 0)
    train, held = split_groups(samples.group, 0.1, 0, train)
    torch.manual_seed(0)
    model = DSRSDNet(replace(DSRSDConfig(modalities=samples.modalities), **STRONG | VARIANTS[variant]))
    fit(model, samples, train, held, FitOptions(epochs=epochs, lr=3e-3, keep_last=True), seed=0)
    part, common = samples.take(test), known.shared[test].numpy()
    with torch.no_grad():
        out = model(part.present, part.valid, *part.inputs)
    rows = []
    for m, own in enumerate(known.private):
        s, p = (x[:, 0, m].double().numpy() for x in (out.shared, out.private))
        rows.append(
            {
                "variant": variant,
                "view": samples.modalities[m].name,
                "s: shared factors": probe_r2(s, common),
                "s: private factors": probe_r2(s, own[test].numpy()),
                "p: shared factors": probe_r2(p, common),
                "p: private factors": probe_r2(p, own[test].numpy()),
                "correlation of s": mean_correlation(s),
                "rank of s, of 8": effective_rank(s),
            }
        )
    return rows
