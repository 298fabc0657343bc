"""The claims of the model on factors that are known: shared from shared, private from private, nothing
across.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from spinecore.plugins.dsrsd_net.analysis import effective_rank, mean_correlation, probe_r2
from spinecore.plugins.dsrsd_net.config import DSRSDConfig
from spinecore.plugins.dsrsd_net.network import DSRSDNet, Prediction
from spinecore.plugins.dsrsd_net.samples import Index, Samples, split_groups
from spinecore.plugins.dsrsd_net.synthetic import KnownFactors, known_factors
from spinecore.plugins.dsrsd_net.training import FitOptions, fit

KNOWN = known_factors(4000, shared=8, private=8, columns=40)
CONFIG = DSRSDConfig(
    modalities=KNOWN.samples.modalities,
    width=128,
    factors=8,
    layers=0,
    dropout=0.0,
    projection="hard",
    modality_dropout=0.0,
    align=1.0,
    decorrelation=0.5,
    variance=1.0,
    orthogonality=10.0,
    private_spread=1.0,
)


def trained(config: DSRSDConfig, known: KnownFactors) -> tuple[Prediction, Index, Samples]:
    """Factors on people that were not trained on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train, test = split_groups(known.samples.group, 0.4, 0)
    train, held = split_groups(known.samples.group, 0.1, 0, train)
    torch.manual_seed(0)
    model = DSRSDNet(config)
    fit(model, known.samples, train, held, FitOptions(epochs=60, lr=3e-3, keep_last=True), seed=0)
    torch.set_num_threads(threads)
    part = known.samples.take(test)
    with torch.no_grad():
        return model(part.present, part.valid, *part.inputs), test, part


def leakage(config: DSRSDConfig) -> dict[str, list[float]]:
    out, test, _ = trained(config, KNOWN)
    common = KNOWN.shared[test].numpy()
    found: dict[str, list[float]] = {
        "s of shared": [],
        "p of private": [],
        "s of private": [],
        "p of shared": [],
    }
    for m, own in enumerate(KNOWN.private):
        s, p = (x[:, 0, m].double().numpy() for x in (out.shared, out.private))
        found["s of shared"].append(probe_r2(s, common))
        found["p of private"].append(probe_r2(p, own[test].numpy()))
        found["s of private"].append(probe_r2(s, own[test].numpy()))
        found["p of shared"].append(probe_r2(p, common))
    found["correlation"] = [mean_correlation(out.shared[:, 0, m].double().numpy()) for m in range(2)]
    found["rank"] = [effective_rank(out.shared[:, 0, m].double().numpy()) for m in range(2)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["hard", "soft"])
def test_the_streams_hold_their_own_factors_and_not_the_others(projection: str) -> None:
    found = leakage(dataclasses.replace(CONFIG, projection=projection))
    assert min(found["s of shared"]) >= 0.95
    assert min(found["p of private"]) >= 0.95
    assert max(found["s of private"]) <= 0.1
    assert max(found["p of shared"]) <= 0.1
    assert max(found["correlation"]) <= 0.1
    assert min(found["rank"]) >= 7.0  # of 8


@pytest.mark.slow
def test_without_the_orthogonality_loss_the_shared_factor_leaks() -> None:
    assert max(leakage(dataclasses.replace(CONFIG, orthogonality=0.0))["p of shared"]) > 0.2


@pytest.mark.slow
def test_without_the_alignment_loss_the_streams_do_not_separate() -> None:
    assert max(leakage(dataclasses.replace(CONFIG, align=0.0))["s of private"]) > 0.2


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
