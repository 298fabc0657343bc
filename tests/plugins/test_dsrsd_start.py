"""Networks that start from logistic regressions: they begin where scikit-learn is, others stop each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from spinecore.plugins.dsrsd_net.config import DSRSDConfig
from spinecore.plugins.dsrsd_net.errors import TableError
from spinecore.plugins.dsrsd_net.samples import split_groups
from spinecore.plugins.dsrsd_net.study import linear_start
from spinecore.plugins.dsrsd_net.study.linear_start import MEMBERS, START, LinearStartNet, members
from spinecore.plugins.dsrsd_net.study.methods import AVERAGED, method_names, run_method
from spinecore.plugins.dsrsd_net.study.protocol import Split, Study, check_split, figures
from spinecore.plugins.dsrsd_net.synthetic import known_factors
from spinecore.plugins.dsrsd_net.training import FitOptions, score


def small_study(start: FitOptions | None) -> Study:
    samples = known_factors(400).samples

    def splits(seed: int) -> list[Split]:
        train, test = split_groups(samples.group, 0.4, seed)
        return [Split(*split_groups(samples.group, 0.2, seed, train), test)]

    config = DSRSDConfig(modalities=samples.modalities, width=16, factors=8, layers=0)
    return Study("small", samples, config, FitOptions(epochs=2), splits, linear=True, start=start)


def test_untrained_it_says_what_the_regressions_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_start, "STRENGTHS", (0.01,))
    study = small_study(None)
    (split,) = study.splits(1)
    samples, y = study.samples, study.samples.outcome.numpy()
    torch.manual_seed(0)
    model = LinearStartNet(study.config)
    model.begin(samples, split.train, split.validation)
    test = samples.take(split.test)
    with torch.no_grad():
        gates = model.eval()(test.present, test.valid, *test.inputs).gates[:, 0].double().numpy()
    logits = []
    for x in samples.inputs:
        scale = StandardScaler().fit(x[split.train].double().numpy())
        rows = scale.transform(x.double().numpy())
        oracle = LogisticRegression(C=0.01, max_iter=1000).fit(rows[split.train], y[split.train])
        logits.append(oracle.decision_function(rows[split.test]))
    expected = 1 / (1 + np.exp(-(gates * np.stack(logits, 1)).sum(1)))
    np.testing.assert_allclose(score(model, test).outcome[:, 1], expected, atol=1e-5)
    assert gates[0, 0] > gates[0, 1]  # the second view lacks a factor that the outcome follows
    absent = score(model, test.without(0)).outcome[:, 1]
    np.testing.assert_allclose(absent, 1 / (1 + np.exp(-logits[1])), atol=1e-5)


def test_members_stop_on_other_people_and_never_see_the_test() -> None:
    study = small_study(FitOptions(epochs=2, batch=64))
    (split,) = study.splits(1)
    parts = members(study.samples, split.train, split.validation, 1)
    assert len({tuple(held) for _, held in parts}) == len(parts) == MEMBERS
    for own, held in parts:
        check_split(study.samples, Split(own, held, split.test))
        assert len(own) + len(held) == len(split.train) + len(split.validation)
    test = study.samples.take(split.test)
    names = method_names(study)
    for method in (START, f"{AVERAGED}: view1"):
        assert method in names
        one = run_method(study, method, split, 1)
        assert figures(test, one)["AUC"] > 0.75
        spoilt = study.samples.outcome.clone()
        spoilt[split.test] = 1 - spoilt[split.test]
        other = replace(study, samples=replace(study.samples, outcome=spoilt))
        np.testing.assert_array_equal(run_method(other, method, split, 1).outcome, one.outcome)
    plain = small_study(None)
    assert START not in method_names(plain)
    with pytest.raises(TableError, match="has no method"):
        run_method(plain, START, split, 1)
