"""Ground-reaction forces of both feet (`gait_grf`): the map branch on 100 points of stance instead of
frames.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..config import ScoliGaitConfig
from ..errors import GaitError
from ..samples import Clips, stack_clips

Array = NDArray[np.float64]

POINTS = 100
"""Of 101: the last one, the end of stance, carries no force, and 100 goes into patches."""


AFFECTED = (0, 1, 2, 6, 7, 8)
"""Columns of the map with forces and slopes of the affected foot, which the linear answer takes."""


def force_map(curves: Array) -> Array:
    """(N, 6, T) forces, affected foot first, to (N, T, 30): forces, their slopes, affected minus unaffected,
    and the 15 cross-correlations of all pairs, as the kinematic map has them of joints.
    """
    count, channels, points = curves.shape
    slopes = np.gradient(curves, axis=-1)
    half = channels // 2
    apart = curves[:, :half] - curves[:, half:]
    x = curves - curves.mean(-1, keepdims=True)
    size = fft.next_fast_len(2 * points, real=True)
    spectra = fft.rfft(x, size, axis=-1)
    pairs = list(combinations(range(channels), 2))
    lags = np.arange(points) - points // 2
    energy = np.sqrt(np.square(x).sum(-1))
    found = np.empty((count, len(pairs), points))
    for i, (a, b) in enumerate(pairs):
        full = fft.irfft(spectra[:, a] * spectra[:, b].conj(), size, axis=-1)
        found[:, i] = full[:, lags] / np.maximum(energy[:, a] * energy[:, b], 1e-12)[:, None]
    return np.concatenate([curves, slopes, apart, found], 1).transpose(0, 2, 1)


def load_forces(folder: Path) -> tuple[Clips, ScoliGaitConfig, Array]:
    """The set as clips of the map branch alone, its configuration, and the flat curves of the affected
    foot.
    """
    path = folder / "grf.npz"
    if not path.is_file():
        raise GaitError(f"{path}: no such file; give the folder of gait_grf")
    try:
        with np.load(path, allow_pickle=False) as data:
            curves = data["feature"][..., :POINTS].astype(np.float64)
            label, subject = data["label"].astype(int), data["subject"].astype(int)
    except (KeyError, ValueError, OSError, BadZipFile) as e:
        raise GaitError(f"{path}: {e}; take the official grf.npz") from e
    values = force_map(curves).astype(np.float32)
    count, points, columns = values.shape
    config = ScoliGaitConfig(
        modalities=("map",),
        outcomes=int(label.max()) + 1,
        frames=points,
        columns=columns,
        map_patch=4,
        dropout=0.2,
        map_noise=0.3,
        modality_dropout=0.0,
    )
    same = {
        "video": np.zeros((1, 1, 1, 1), dtype=np.uint8),
        "valid": np.ones(points, dtype=bool),
        "present": np.array([True, False, False]),
    }
    arrays = [{"map": v, **same} for v in values]
    found = stack_clips(
        arrays,
        np.zeros((count, 1, 1), dtype=np.int64),
        outcome=label.tolist(),
        subject=subject.tolist(),
        walk=np.unique(subject, return_inverse=True)[1].tolist(),
    )
    return found, config, curves[:, :3].reshape(count, -1)
