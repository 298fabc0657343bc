"""Text from kinematics: known asymmetries are said, sides turn with the mirror, and no label has a way in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinecore.plugins.scoligait import task as tasks
from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.pose import mirrored
from spinecore.plugins.scoligait.recordings import Labelled, simulated
from spinecore.plugins.scoligait.simulator import FULL, Camera, Walker, draw_camera, draw_walker, simulate
from spinecore.plugins.scoligait.task import GaitTask
from spinecore.plugins.scoligait.text.encoders import SentenceEncoder, hashed
from spinecore.plugins.scoligait.text.findings import (
    MEASURES,
    NOTHING,
    PLACE,
    Reference,
    findings,
    fit_reference,
    measures,
    sentence,
)

STILL = Camera(noise=0.0, dropout=0.0)
EXACT = Reference(np.zeros(len(MEASURES)), np.ones(len(MEASURES)), 10)


@settings(deadline=None, max_examples=25)
@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(-5, 5), st.floats(0, 6.28))
def test_simulated_angles_come_back(lean: float, shoulders: float, hips: float, phase: float) -> None:
    walker = Walker(0.5, trunk_lean_deg=lean, shoulder_tilt_deg=shoulders, hip_tilt_deg=hips, phase=phase)
    got = measures(simulate(walker, STILL, np.random.default_rng(0), frames=96))
    assert got[PLACE["trunk_lean"]] == pytest.approx(lean, abs=0.2)
    assert got[PLACE["shoulder_tilt"]] == pytest.approx(shoulders, abs=0.2)
    assert got[PLACE["hip_tilt"]] == pytest.approx(hips, abs=0.2)


def test_findings_follow_the_simulated_asymmetries() -> None:
    """Over 60 people, noise and drop-outs included, each asymmetry is seen by its own measure."""
    draw = np.random.default_rng(5)
    walkers = [draw_walker(draw) for _ in range(60)]
    got = np.stack([measures(simulate(w, draw_camera(draw), draw)) for w in walkers])
    for name, measure in (
        ("trunk_lean_deg", "trunk_lean"),
        ("shoulder_tilt_deg", "shoulder_tilt"),
        ("hip_tilt_deg", "hip_tilt"),
        ("trunk_shift", "trunk_shift"),
        ("arm_swing_asymmetry", "arm_swing_difference"),
    ):
        truth = np.array([getattr(w, name) for w in walkers])
        assert np.corrcoef(truth, got[:, PLACE[measure]])[0, 1] > 0.7, measure
    assert set(FULL) <= set(vars(walkers[0]))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_mirror_turns_the_sides(seed: int) -> None:
    draw = np.random.default_rng(seed)
    walk = simulate(draw_walker(draw), draw_camera(draw), draw)
    here, there = measures(walk), measures(mirrored(walk))
    sided = np.array([m.sided for m in MEASURES])
    np.testing.assert_allclose(there, np.where(sided, -here, here), atol=1e-9)
    swap = {"left": "right", "right": "left"}
    words = [f.phrase for f in findings(here, EXACT)]
    turned = [" ".join(swap.get(w, w) for w in p.split()) for p in words]
    assert [f.phrase for f in findings(there, EXACT)] == turned


def test_phrases_say_side_and_strength() -> None:
    values = np.zeros(len(MEASURES))
    values[PLACE["hip_tilt"]] = -2.5
    values[PLACE["step_width"]] = 3.5
    values[PLACE["trunk_lean"]] = 0.9
    values[PLACE["knee_difference"]] = np.nan
    found = findings(values, EXACT)
    assert sentence(found) == "strong increased step width; clear hip tilt, to the right"
    assert sentence([]) == NOTHING


def test_a_reference_counts_subjects_not_clips() -> None:
    values = np.ones((12, len(MEASURES)))
    values[:10] = 3.0  # one subject with ten clips
    found = fit_reference(values, np.array([0] * 10 + [1, 2]))
    assert found.subjects == 3
    assert found.mean[PLACE["step_width"]] == pytest.approx(5 / 3)
    assert found.mean[PLACE["trunk_lean"]] == 0  # sides have no mean
    again = Reference.from_dict(found.as_dict())
    np.testing.assert_allclose(again.spread, found.spread)
    with pytest.raises(GaitError, match="2 reference subjects"):
        fit_reference(values, np.array([0] * 11 + [1]))


def test_text_does_not_depend_on_labels_of_the_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn round every label and severity of the held-out subjects: no token, map or reference changes."""
    options = {"config": {"simulated_subjects": 16}, "seed": 3}
    plain = GaitTask({}, **options)  # type: ignore[arg-type]
    held = set(plain.clips.subject[torch.from_numpy(plain.held)].tolist())

    def turned(subjects: int, seed: int) -> Labelled:
        data = simulated(subjects, seed)
        for i, s in enumerate(data.subject):
            if s in held:
                data.label[i] = 1 - data.label[i]
                data.severity[i] = 1 - data.severity[i]
        return data

    monkeypatch.setattr(tasks, "simulated", turned)
    other = GaitTask({}, **options)  # type: ignore[arg-type]
    assert (other.clips.outcome != plain.clips.outcome).any()
    assert torch.equal(other.clips.text, plain.clips.text)
    assert torch.equal(other.clips.map.nan_to_num(), plain.clips.map.nan_to_num())
    assert other.reference.as_dict() == plain.reference.as_dict()
    assert torch.equal(other.build().map.mean, plain.build().map.mean)


def test_hashed_texts_are_stable_and_share_letters() -> None:
    tokens = hashed(["trunk lean to the left", "trunk lean, to the LEFT", "", "limping " * 50], 4096, 48)
    assert tokens.shape == (4, 48)
    assert (tokens[0] == tokens[1]).all()
    assert (tokens[2] == 0).all()
    assert (tokens[3] > 0).all()
    assert tokens[0][:3].tolist() == hashed(["trunk lean to the left"], 4096, 48)[0][:3].tolist()
    a, b = hashed(["limping", "limped"], 2**31, 24)
    assert len(set(a) & set(b) - {0}) >= 3


def test_a_sentence_encoder_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(GaitError, match=r"transformers|no such folder"):
        SentenceEncoder(tmp_path / "none")
