from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spinecore
from spinecore.plugins.dsrsd_net import SPEC
from spinecore.plugins.dsrsd_net.baselines import METHODS, Baseline
from spinecore.plugins.dsrsd_net.config import DSRSDConfig, ModalityConfig
from spinecore.plugins.dsrsd_net.example import SMALL, example_inputs
from spinecore.plugins.dsrsd_net.fusion import masked_softmax
from spinecore.plugins.dsrsd_net.network import DSRSDNet
from spinecore.plugins.dsrsd_net.projection import ResidualProjection
from spinecore.testing.plugins import check_plugin


def build(**changes: object) -> DSRSDNet:
    torch.manual_seed(0)
    return DSRSDNet(dataclasses.replace(SMALL, **changes)).eval()  # type: ignore[arg-type]


def test_conformance() -> None:
    check_plugin(SPEC, backend="aot_eager")


def test_it_is_registered_and_built_from_a_json_configuration() -> None:
    config = SMALL.as_dict()
    model = spinecore.create_model("dsrsd_net", **config)
    assert isinstance(model, DSRSDNet)
    assert model.config == SMALL


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(0, 6), st.booleans(), st.integers(0, 99))
def test_reconstruction_and_residual_are_the_encoding(factors: int, more: int, hard: bool, seed: int) -> None:
    torch.manual_seed(seed)
    projection = ResidualProjection(factors + more, factors, hard=hard).double()
    h = torch.randn(7, factors + more, dtype=torch.float64)
    streams = projection(h)
    torch.testing.assert_close(streams.reconstruction + streams.residual, h, rtol=0, atol=1e-14)
    if hard:
        p, q = projection.matrices()
        torch.testing.assert_close(p @ q, torch.eye(factors, dtype=torch.float64), rtol=0, atol=1e-12)
        assert float((streams.residual @ p.t()).abs().max()) < 1e-12  # P r = 0


def test_the_hard_projection_stays_orthonormal_while_it_trains() -> None:
    projection = ResidualProjection(9, 4, hard=True).double()
    optimizer = torch.optim.SGD(projection.parameters(), lr=0.5)
    for _ in range(20):
        loss = projection(torch.randn(16, 9, dtype=torch.float64)).shared.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    p, q = projection.matrices()
    torch.testing.assert_close(p @ q, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("junk", [float("nan"), 3.0])
@pytest.mark.parametrize("method", ["dsrsd_net", *METHODS])
def test_what_is_absent_has_no_effect(junk: float, method: str) -> None:
    torch.manual_seed(0)
    model = (DSRSDNet(SMALL) if method == "dsrsd_net" else Baseline(SMALL, method)).eval()
    present, valid, *inputs = example_inputs()[1]
    spoilt = [x.clone() for x in inputs]
    for m, x in enumerate(spoilt):
        x[~present[:, m]] = junk
    before, after = model(present, valid, *inputs), model(present, valid, *spoilt)
    torch.testing.assert_close(after.outcome, before.outcome, rtol=0, atol=0)
    torch.testing.assert_close(after.steps, before.steps, rtol=0, atol=0)


@pytest.mark.parametrize("sequence", ["gru", "attention"])
def test_steps_see_the_past_alone(sequence: str) -> None:
    model = build(sequence=sequence)
    present, valid, profile, events, notes = example_inputs()[1]
    later = events.clone()
    later[:, 3:] = torch.cat((later[:, 3:, :2] + 5, later[:, 3:, 2:] * 0), -1)
    before, after = (
        model(present, valid, profile, events, notes),
        model(present, valid, profile, later, notes),
    )
    assert torch.equal(before.steps[:, :3], after.steps[:, :3])
    assert not torch.equal(before.steps[:, 3:], after.steps[:, 3:])
    # Samples that ended before step 3 keep their outcome.
    assert torch.equal(before.outcome[1:3], after.outcome[1:3])
    assert not torch.equal(before.outcome[0], after.outcome[0])


def test_gates_are_shares_of_what_is_present() -> None:
    present, valid, *inputs = example_inputs()[1]
    gates = build()(present, valid, *inputs).gates
    torch.testing.assert_close(gates.sum(-1), torch.ones(4, 5))
    assert torch.equal(gates > 0, present[:, None].expand(-1, 5, -1))


def test_a_sample_without_any_modality_has_a_finite_answer_and_gradient() -> None:
    present, valid, *inputs = example_inputs()[1]
    present = present.clone()
    present[0] = False
    model = build().train()
    out = model(present, valid, *inputs)
    assert float(out.gates[0].abs().max()) == 0.0
    (out.outcome.sum() + out.steps.sum()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=1, max_size=6))
def test_masked_softmax_is_softmax_of_what_is_present(pairs: list[tuple[float, bool]]) -> None:
    scores = torch.tensor([p[0] for p in pairs], dtype=torch.float64)
    present = torch.tensor([p[1] for p in pairs])
    got = masked_softmax(scores[None], present[None])[0]
    torch.testing.assert_close(got[present], scores[present].softmax(0))
    assert float(got[~present].abs().sum()) == 0.0


def test_columns_are_standardised_with_known_training_values_and_missing_ones_marked() -> None:
    config = DSRSDConfig(modalities=(ModalityConfig("a", numeric=2),), width=8, factors=4)
    model = DSRSDNet(config)
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [float("nan"), 5.0]])
    every = torch.ones(3, 1, dtype=torch.bool)
    model.fit_columns([x], every, every)
    embed = model.encoders[0].embed
    torch.testing.assert_close(embed.mean, torch.tensor([2.0, 5.0]))
    torch.testing.assert_close(embed.scale, torch.tensor([1.0, torch.inf]))
    out = model.eval()(every, every, x)
    assert torch.isfinite(out.outcome).all()
    filled = torch.tensor([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]])
    assert not torch.equal(
        model(every, every, filled).outcome[2], out.outcome[2]
    )  # the mean is not "missing"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"projection": "firm"}, "projection"),
        ({"sequence": "lstm"}, "sequence"),
        ({"factors": 64}, "factors"),
        ({"outcomes": 1}, "outcomes"),
        ({"modalities": ()}, "at least one"),
        ({"modalities": (ModalityConfig("a", numeric=1), ModalityConfig("a", numeric=1))}, "own name"),
    ],
)
def test_impossible_configurations_say_why(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(SMALL, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "image"}, "kind"),
        ({"kind": "text"}, "vocabulary"),
        ({}, "no columns"),
        ({"categories": (1,)}, "at least 2"),
    ],
)
def test_impossible_modalities_say_why(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ModalityConfig("a", **fields)  # type: ignore[arg-type]
