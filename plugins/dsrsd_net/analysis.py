"""What the factors hold: correlation, effective rank, and linear probes for leaks between the streams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def mean_correlation(z: Matrix) -> float:
    """Mean absolute off-diagonal correlation of the columns of (N, k); columns that never change are left
    out.
    """
    spread = z.std(0)
    kept = z[:, spread > 1e-8 * max(float(spread.max(initial=0.0)), 1e-300)]
    if kept.shape[1] < 2:
        return 0.0
    c = np.abs(np.corrcoef(kept.T))
    return float((c.sum() - np.trace(c)) / (c.size - len(c)))


def effective_rank(z: Matrix) -> float:
    """Exp of the entropy of the normalised covariance eigenvalues (Roy and Vetterli 2007): 1 to k."""
    values = np.linalg.eigvalsh(np.cov(z.T)).clip(0)
    share = values / max(values.sum(), 1e-300)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def probe_r2(features: Matrix, target: Matrix, *, ridge: float = 1e-3) -> float:
    """Share of the variance of `target` (N, t) that a linear probe on `features` (N, f) explains on held-out
    rows.

    Fitted on the first half, judged on the second, mean over the targets; below 0 counts as 0.
    """
    half = len(features) // 2
    mean, spread = features[:half].mean(0), features[:half].std(0) + 1e-12
    x = (features - mean) / spread
    centre = target[:half].mean(0)
    gram = x[:half].T @ x[:half] + ridge * half * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[:half].T @ (target[:half] - centre))
    error = ((target[half:] - centre - x[half:] @ weights) ** 2).sum(0)
    total = ((target[half:] - target[half:].mean(0)) ** 2).sum(0)
    return float(np.clip(1 - error / np.maximum(total, 1e-300), 0, 1).mean())
