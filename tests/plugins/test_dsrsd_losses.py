from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from spinecore.plugins.dsrsd_net.alignment import contrastive_loss
from spinecore.plugins.dsrsd_net.config import DSRSDConfig, ModalityConfig
from spinecore.plugins.dsrsd_net.example import SMALL, example_inputs
from spinecore.plugins.dsrsd_net.losses import factor_losses, objective
from spinecore.plugins.dsrsd_net.network import DSRSDNet
from spinecore.plugins.dsrsd_net.samples import Samples, group_folds, hide_modalities, split_groups
from spinecore.plugins.dsrsd_net.synthetic import known_factors
from spinecore.plugins.dsrsd_net.training import batch_loss, epoch_batches, score

WORKER = Path(__file__).with_name("dsrsd_worker.py")


def example_batch() -> Samples:
    present, valid, *inputs = example_inputs()[1]
    steps = torch.where(valid, torch.arange(20).view(4, 5) % 2, -1)
    outcome = torch.tensor([1, 0, -1, 1])
    at = torch.arange(4)
    return Samples(SMALL.modalities, tuple(inputs), present, valid, outcome, steps, at, at * 0)


def worker_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dsrsd_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="only on Linux: gloo")
def test_two_processes_under_torchrun_have_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*run, str(WORKER), str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    model, samples = worker_module().build()
    loss, _ = batch_loss(model, samples)
    loss.backward()
    first, second = (torch.load(tmp_path / f"gradient{rank}.pt") for rank in range(2))
    for name, parameter in model.named_parameters():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], parameter.grad, rtol=1e-6, atol=1e-9, msg=name)


def test_every_loss_reaches_the_sum_with_its_weight() -> None:
    torch.manual_seed(0)
    model, batch = DSRSDNet(SMALL).eval(), example_batch()
    out = model(batch.present, batch.valid, *batch.inputs)
    config = dataclasses.replace(SMALL, private_spread=0.7)
    loss, parts = objective(out, batch, config)
    expected = parts["task"] + 0.3 * parts["stream"] + 0.2 * parts["align"] + 0.05 * parts["covariance"]
    expected = expected + 0.05 * parts["variance"] + 0.1 * parts["orthogonality"] + 0.7 * parts["private"]
    torch.testing.assert_close(loss.detach(), expected)
    none = dict.fromkeys(("align", "decorrelation", "variance", "orthogonality", "stream_task"), 0.0)
    loss, parts = objective(out, batch, dataclasses.replace(SMALL, **none))
    assert set(parts) == {"task"}
    known = batch.steps >= 0
    task = F.cross_entropy(out.outcome[[0, 1, 3]], torch.tensor([1, 0, 1]))
    task = task + F.binary_cross_entropy_with_logits(out.steps[known], batch.steps[known].float())
    torch.testing.assert_close(loss, task)


def test_orthogonality_does_not_depend_on_the_size_of_the_batch() -> None:
    torch.manual_seed(0)
    samples = known_factors(64).samples
    model = DSRSDNet(dataclasses.replace(SMALL, modalities=samples.modalities, next_step=False)).eval()
    twice = samples.take(np.concatenate((np.arange(64), np.arange(64))))
    values = [
        float(factor_losses(model(s.present, s.valid, *s.inputs), s)[2].detach()) for s in (samples, twice)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_contrast_is_least_for_the_right_pairs_and_leaves_a_persons_own_rows_out() -> None:
    a = F.normalize(torch.randn(6, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    right, wrong = contrastive_loss(a, a, 0.1), contrastive_loss(a, a.roll(1, 0), 0.1)
    assert right < 0.1 < wrong
    twins = torch.cat((a, a))
    people = torch.arange(6).repeat(2)
    assert contrastive_loss(twins, twins, 0.1) == pytest.approx(float(right) + np.log(2), abs=1e-3)
    assert contrastive_loss(twins, twins, 0.1, people) == pytest.approx(float(right), abs=1e-3)
    assert contrastive_loss(a[:1], a[:1], 0.1) == 0.0


def test_a_batch_without_pairs_or_answers_has_a_finite_loss() -> None:
    model, batch = DSRSDNet(SMALL), example_batch()
    present = torch.zeros_like(batch.present)
    present[:, 0] = True
    alone = dataclasses.replace(
        batch, present=present, outcome=batch.outcome * 0 - 1, steps=batch.steps * 0 - 1
    )
    loss, _ = batch_loss(model, alone)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_hiding_keeps_something_of_every_sample() -> None:
    present = torch.rand(400, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    hidden = hide_modalities(present, 0.7, torch.Generator().manual_seed(2))
    assert not (hidden & ~present).any()
    assert torch.equal(hidden.any(1), present.any(1))
    assert hidden.sum() < 0.7 * present.sum()


def test_no_person_is_on_two_sides_of_a_split() -> None:
    group = torch.randint(0, 50, (400,), generator=torch.Generator().manual_seed(0))
    outcome = group % 4
    rest, held = split_groups(group, 0.3, seed=4)
    assert not set(group[rest].tolist()) & set(group[held].tolist())
    assert sorted([*rest, *held]) == list(range(400))
    for folds in (group_folds(group, 5, 1), group_folds(group, 5, 1, outcome)):
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(400))
        for train, test in folds:
            assert not set(group[train].tolist()) & set(group[test].tolist())
    classes = [np.bincount(np.unique(group[test].numpy()) % 4, minlength=4) for _, test in folds]
    assert np.ptp(np.array(classes), 0).max() <= 1


def test_an_epoch_takes_every_sample_once_and_pads_little() -> None:
    lengths = torch.randint(1, 101, (1000,), generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(1)
    first, second = (epoch_batches(lengths, 32, draw) for _ in range(2))
    for batches in (first, second):
        assert sorted(int(i) for at in batches for i in at) == list(range(1000))
        padded = sum(len(at) * int(lengths[at].max()) for at in batches)
        assert padded < 1.2 * int(lengths.sum())  # a plain shuffle pads to about twice the sum
        assert np.std([float(lengths[at].float().mean()) for at in batches[:8]]) > 5  # not in order of length
    assert {tuple(at.tolist()) for at in first}.isdisjoint(tuple(at.tolist()) for at in second)
    same = epoch_batches(torch.full((50,), 4), 16, torch.Generator().manual_seed(3))
    assert torch.cat(same).tolist() == torch.randperm(50, generator=torch.Generator().manual_seed(3)).tolist()


def test_scores_come_in_the_order_of_the_samples() -> None:
    torch.manual_seed(0)
    model, batch = DSRSDNet(SMALL).eval(), example_batch()
    out = model(batch.present, batch.valid, *batch.inputs)
    got = score(model, batch, batch=1)
    np.testing.assert_allclose(got.outcome, out.outcome.double().softmax(-1).detach().numpy(), atol=1e-6)
    kept = batch.valid.numpy()
    np.testing.assert_allclose(got.steps[kept], out.steps.sigmoid().detach().numpy()[kept], atol=1e-6)
    assert not got.steps[1, 3:].any()


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.sampled_from(["vector", "sequence", "text", "text by step"]), min_size=1, max_size=6),
    st.data(),
)
def test_any_number_and_kind_of_modalities_trains_with_any_of_them_missing(
    kinds: list[str], data: st.DataObject
) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    steps = 3 if {"sequence", "text by step"} & set(kinds) else 1
    modalities, inputs = [], []
    for m, kind in enumerate(kinds):
        if kind == "vector":
            modalities.append(ModalityConfig(f"m{m}", "vector", numeric=2, categories=(3,)))
            inputs.append(torch.cat((torch.randn(6, 2), torch.randint(0, 3, (6, 1))), -1))
        elif kind == "sequence":
            modalities.append(ModalityConfig(f"m{m}", "sequence", numeric=2))
            inputs.append(torch.randn(6, steps, 2))
        else:
            by_step = kind != "text"
            modalities.append(ModalityConfig(f"m{m}", "text", vocabulary=5, per_step=by_step))
            inputs.append(torch.randint(0, 5, (6, steps, 4) if by_step else (6, 4)).float())
    flags = st.lists(st.booleans(), min_size=len(kinds), max_size=len(kinds))
    present = torch.tensor(data.draw(st.lists(flags, min_size=6, max_size=6)))
    valid = (
        torch.arange(steps)
        < torch.tensor(data.draw(st.lists(st.integers(1, steps), min_size=6, max_size=6)))[:, None]
    )
    at = torch.arange(6)
    batch = Samples(
        tuple(modalities), tuple(inputs), present, valid, at % 2, torch.where(valid, 1, -1), at, at * 0
    )
    model = DSRSDNet(DSRSDConfig(tuple(modalities), width=8, factors=4, next_step=steps > 1, dropout=0.0))
    loss, _ = batch_loss(model, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    spoilt = [x.clone() for x in inputs]
    for m, x in enumerate(spoilt):
        x[~present[:, m]] = 2.0
    before = model.eval()(present, valid, *inputs)
    after = model(present, valid, *spoilt)
    assert torch.equal(before.outcome, after.outcome)
    assert torch.equal(before.gates, after.gates)
