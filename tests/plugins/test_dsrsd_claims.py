"""The claims of the model on factors that are known: shared from shared, private from private, nothing
across.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spinecore.plugins.dsrsd_net.analysis import effective_rank, mean_correlation, probe_r2
from spinecore.plugins.dsrsd_net.study.known import probe_known


def figures(variant: str) -> dict[str, list[float]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = probe_known(variant)
    torch.set_num_threads(threads)
    return {k: [row[k] for row in rows] for k in rows[0] if k not in ("variant", "view")}


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["hard projection", "soft projection"])
def test_the_streams_hold_their_own_factors_and_not_the_others(projection: str) -> None:
    found = figures(projection)
    assert min(found["s: shared factors"]) >= 0.95
    assert min(found["p: private factors"]) >= 0.95
    assert max(found["s: private factors"]) <= 0.1
    assert max(found["p: shared factors"]) <= 0.1
    assert max(found["correlation of s"]) <= 0.1
    assert min(found["rank of s, of 8"]) >= 7.0


@pytest.mark.slow
def test_without_the_orthogonality_loss_the_shared_factor_leaks() -> None:
    assert max(figures("no orthogonality")["p: shared factors"]) > 0.2


@pytest.mark.slow
def test_without_the_alignment_loss_the_streams_do_not_separate() -> None:
    assert max(figures("no alignment")["s: private factors"]) > 0.2


def test_rank_and_correlation_of_known_matrices() -> None:
    rng = np.random.default_rng(0)
    white = rng.standard_normal((20_000, 6))
    assert effective_rank(white) == pytest.approx(6, abs=0.01)
    assert mean_correlation(white) < 0.02
    line = white[:, :1] @ np.ones((1, 6))
    assert effective_rank(line) == pytest.approx(1, abs=1e-6)
    assert mean_correlation(line) == pytest.approx(1)
    assert effective_rank(white[:, :3] @ np.eye(3, 6)) == pytest.approx(3, abs=0.01)


def test_a_probe_finds_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((4000, 5)), rng.standard_normal((4000, 2))
    assert probe_r2(x, x @ rng.standard_normal((5, 3)) + 2) > 0.999
    assert probe_r2(x, other) < 0.01
    half = x[:, :1] + rng.standard_normal((4000, 1))
    assert probe_r2(x, half) == pytest.approx(0.5, abs=0.04)
