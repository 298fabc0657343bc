"""A set whose factors are known: what is shared by all modalities, what is private to each, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config import ModalityConfig
from .samples import Samples


@dataclass(frozen=True)
class KnownFactors:
    """Samples with the factors behind them: shared (N, ks), private one (N, kp) a modality."""

    samples: Samples
    shared: Tensor
    private: tuple[Tensor, ...]


def known_factors(
    count: int = 4000,
    modalities: int = 2,
    *,
    shared: int = 4,
    private: int = 4,
    columns: int = 32,
    noise: float = 0.05,
    missing: float = 0.0,
    seed: int = 0,
) -> KnownFactors:
    """x^m = A_m z_shared + B_m z_private^m + noise; the outcome follows z_shared and one factor of the first
    modality.

    All factors are independent standard normals, A_m and B_m have orthonormal columns, spanning different
    spaces.
    """
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((count, shared))
    own = [rng.standard_normal((count, private)) for _ in range(modalities)]
    inputs = []
    for z in own:
        basis = np.linalg.qr(rng.standard_normal((columns, shared + private)))[0]
        x = common @ basis[:, :shared].T + z @ basis[:, shared:].T
        inputs.append(torch.from_numpy((x + noise * rng.standard_normal(x.shape)).astype(np.float32)))
    score = common[:, 0] + common[:, 1] + own[0][:, 0] + 0.3 * rng.standard_normal(count)
    present = rng.random((count, modalities)) >= missing
    present[~present.any(1), 0] = True
    samples = Samples(
        modalities=tuple(ModalityConfig(f"view{m + 1}", numeric=columns) for m in range(modalities)),
        inputs=tuple(inputs),
        present=torch.from_numpy(present),
        valid=torch.ones(count, 1, dtype=torch.bool),
        outcome=torch.from_numpy((score > 0).astype(np.int64)),
        steps=torch.full((count, 1), -1),
        group=torch.arange(count),
        domain=torch.zeros(count, dtype=torch.long),
    )
    return KnownFactors(samples, torch.from_numpy(common), tuple(torch.from_numpy(z) for z in own))
