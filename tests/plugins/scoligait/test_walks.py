"""Walks: resampling, clips, quality, steps; real recordings beside their raw markers."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import ezc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import find_peaks

from spinecore.plugins.scoligait.config import ScoliGaitConfig
from spinecore.plugins.scoligait.cycle import steps
from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.joints import INDEX
from spinecore.plugins.scoligait.network import ScoliGait
from spinecore.plugins.scoligait.pose import Walk, clips, mirrored, quality_flags, resampled
from spinecore.plugins.scoligait.reader import GaitReader
from spinecore.plugins.scoligait.readers import Recording, read_recording
from spinecore.plugins.scoligait.simulator import Camera, Walker, simulate
from spinecore.plugins.scoligait.text.findings import MEASURES, Reference

Array = NDArray[np.float64]
STILL = Camera(noise=0.0, dropout=0.0)


@settings(deadline=None, max_examples=20)
@given(st.floats(20, 240), st.integers(40, 300))
def test_resampling_keeps_the_motion(rate: float, frames: int) -> None:
    time = np.arange(frames) / rate
    joints = np.sin(2 * np.pi * 0.8 * time)[:, None, None] * np.ones((1, 17, 2))
    walk = resampled(Walk(joints, np.ones((frames, 17)), rate, "a", "a"))
    expected = np.sin(2 * np.pi * 0.8 * np.arange(len(walk.joints)) / 30)
    assert np.abs(walk.joints[:, 0, 0] - expected).max() < 0.5 * (2 * np.pi * 0.8) ** 2 / rate**2 / 4 + 1e-9
    assert walk.seconds <= frames / rate + 1 / 30 + 1e-9


def test_clips_do_not_overlap_unless_asked() -> None:
    joints = np.arange(300.0)[:, None, None] * np.ones((1, 17, 2))
    walk = Walk(joints, np.ones((300, 17)), 30.0, "a", "a")
    assert [c.joints[0, 0, 0] for c in clips(walk)] == [0, 96, 192]
    assert [c.joints[0, 0, 0] for c in clips(walk, stride=48)] == [0, 48, 96, 144, 192]
    with pytest.raises(GaitError, match=r"0\.67 s long"):
        clips(Walk(joints[:20], np.ones((20, 17)), 30.0, "a", "a"))


def test_quality_flags_name_the_trouble() -> None:
    walk = simulate(Walker(0.0), STILL, np.random.default_rng(0))
    assert quality_flags(walk) == ()
    sure = walk.confidence.copy()
    sure[:, INDEX["left_wrist"]] = 0.0
    hidden = Walk(walk.joints, sure, 15.0, "a", "a")
    assert quality_flags(hidden)[0] == "hardly seen: left wrist"
    assert any("low frame rate" in f for f in quality_flags(hidden))
    behind = Walk(walk.joints * [-1.0, 1.0], walk.confidence, 30.0, "a", "a")
    assert any("from behind" in f for f in quality_flags(behind))
    assert quality_flags(mirrored(walk)) == ()


def gait_files() -> Path:
    folder = Path(os.environ.get("SPINECORE_DATA", "")) / "gait_files"
    if not os.environ.get("SPINECORE_DATA") or not folder.is_dir():
        pytest.skip("SPINECORE_DATA names no folder that holds the set gait_files")
    return folder


def test_real_c3d_agrees_with_the_heels() -> None:
    """Cadence and symmetry of the ankles beside those of the raw heel markers, read without our code."""
    path = gait_files() / "Gait.c3d"
    raw = ezc3d.c3d(str(path))
    names = raw["parameters"]["POINT"]["LABELS"]["value"]
    points = raw["data"]["points"][:3]
    left, right, sacrum = (points[:, names.index(n)] for n in ("LHEE", "RHEE", "VSAC"))
    seen = np.isfinite(left[0] + right[0] + sacrum[0])
    travel = sacrum[:, seen][:, -1] - sacrum[:, seen][:, 0]
    ahead = int(np.argmax(np.abs(travel)))
    sign = np.sign(travel[ahead])
    contacts: list[tuple[int, str]] = []
    for side, heel in (("left", left), ("right", right)):
        forward = sign * (heel - sacrum)[ahead, seen]
        found = find_peaks(forward, distance=50, prominence=0.25 * np.ptp(forward))[0]
        contacts += [(int(t), side) for t in found]
    contacts.sort()
    rate = raw["parameters"]["POINT"]["RATE"]["value"][0]
    gaps: dict[str, list[float]] = {"left": [], "right": []}
    for (before, _), (after, side) in itertools.pairwise(contacts):
        gaps[side].append((after - before) / rate)
    got = steps(read_recording(path)[0])
    ours = (np.mean(gaps["left"]), np.mean(gaps["right"]))
    assert got.cadence == pytest.approx(60 / np.mean(ours), rel=0.04)
    assert got.time_symmetry == pytest.approx(ours[0] / ours[1], abs=0.08)


def test_real_trc_agrees_with_the_heels() -> None:
    """One stride: cadence from the raw heel markers; how far each foot is ahead when it lands."""
    path = gait_files() / "walk.trc"
    lines = path.read_text(errors="replace").splitlines()
    names = [n for n in lines[3].split("\t")[2:] if n]
    rows = [(line.split("\t")[2:] + [""] * 999)[: 3 * len(names)] for line in lines[6:] if line.strip()]
    cells = np.array([[float(c) if c.strip() else np.nan for c in row] for row in rows])
    points = cells.reshape(len(rows), len(names), 3)
    sacrum = (points[:, names.index("L.PSIS"), 0] + points[:, names.index("R.PSIS"), 0]) / 2
    heels = {s: points[:, names.index(f"{s}.Heel"), 0] - sacrum for s in "LR"}
    landing = {s: 20 + int(np.argmax(heels[s][20:])) for s in "LR"}
    apart = heels["L"] - heels["R"]
    got = steps(read_recording(path)[0])
    assert got.cadence == pytest.approx(60 / ((landing["L"] - landing["R"]) / 150), rel=0.04)
    assert np.isnan(got.right_s)  # the recording begins after a left contact: no right step is whole
    ours = apart[landing["L"]] / -apart[landing["R"]]
    assert got.length_symmetry == pytest.approx(ours, abs=0.08)


def test_a_real_trc_without_shoulders_is_refused_by_name(tmp_path: Path) -> None:
    """Its steps can be counted; the map has no torso to measure in, and the reason says what to add."""
    path = gait_files() / "walk.trc"
    reference = Reference(*(np.full(len(MEASURES), v) for v in (0.0, 1.0)), 1)
    reader = GaitReader(ScoliGait(ScoliGaitConfig()), {"reference": reference.as_dict()})
    with pytest.raises(GaitError) as caught:
        reader.screen(Recording(path, path.name, "anna"), tmp_path, "plot")
    words = "left_shoulder, right_shoulder are not in any of 37 frames; the map needs both shoulders"
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "name markers so" in str(caught.value)


def test_real_video_decodes() -> None:
    seen: list[tuple[int, ...]] = []

    def nobody(picture: NDArray[np.uint8]) -> Array:
        seen.append(picture.shape)
        return np.zeros((17, 3))

    walk = read_recording(gait_files() / "pose2sim_single_cam01.mp4", estimator=nobody)[0]
    assert (len(walk.joints), walk.rate) == (100, 60)
    assert set(seen) == {(1920, 1080, 3)}
