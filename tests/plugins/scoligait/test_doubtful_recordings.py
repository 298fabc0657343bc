"""Recordings as they come: somebody else in the picture, empty ends, guessed joints, wrong units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.joints import INDEX, JOINTS
from spinecore.plugins.scoligait.pose import Walk, clips, mirrored, quality_flags
from spinecore.plugins.scoligait.readers import find_recordings, read_recording
from spinecore.plugins.scoligait.screening import summary
from spinecore.plugins.scoligait.simulator import Camera, Walker, simulate

Array = NDArray[np.float64]
AWAY = 900.0  # pixels to the bystander


def walk_of(frames: int = 96) -> Walk:
    return simulate(Walker(0.0), Camera(noise=0.0, dropout=0.0), np.random.default_rng(0), frames=frames)


def results(path: Path, people: list[list[Array]]) -> Path:
    entries: list[dict[str, Any]] = []
    for t, frame in enumerate(people):
        for joints in frame:
            full = np.concatenate([joints, np.ones((17, 1))], 1)
            entries.append({"image_id": f"{t}.jpg", "keypoints": full.ravel().tolist()})
    path.write_text(json.dumps(entries))
    return path


def test_a_missed_frame_does_not_hand_over_to_a_bystander(tmp_path: Path) -> None:
    joints = walk_of().joints
    still = 0.9 * joints[0] + [AWAY, 0.0]
    people = [[frame, still] for frame in joints]
    people[10] = [still]
    people[30] = [still, joints[30]]
    (walk,) = read_recording(results(tmp_path / "two.json", people), rate=30)
    assert np.isnan(walk.joints[10]).all()
    np.testing.assert_allclose(np.delete(walk.joints, 10, axis=0), np.delete(joints, 10, axis=0), atol=1e-6)
    assert any("several people in 95 of 96 frames" in flag for flag in walk.flags)
    (alone,) = read_recording(results(tmp_path / "one.json", [[frame] for frame in joints]), rate=30)
    assert not any("several people" in flag for flag in alone.flags)


def test_joints_of_low_confidence_are_missing_everywhere() -> None:
    walk = walk_of()
    guessed, sure = walk.joints.copy(), walk.confidence.copy()
    guessed[5, INDEX["left_knee"]] = 0.0
    sure[5, INDEX["left_knee"]] = 0.1
    (clip,) = clips(Walk(guessed, sure, 30.0, "a", "a"))
    assert np.isnan(clip.joints[5, INDEX["left_knee"]]).all()
    assert np.isfinite(np.delete(clip.joints, 5, axis=0)).all()


def test_ends_without_anybody_are_cut_off() -> None:
    walk = walk_of(150)
    joints = walk.joints.copy()
    joints[:20] = joints[140:] = np.nan
    (clip,) = clips(Walk(joints, walk.confidence, 30.0, "a", "a"))
    np.testing.assert_array_equal(clip.joints[:96], joints[20:116])
    assert any("0.7 s without a trunk" in flag for flag in clip.flags)


def test_what_the_units_give_away() -> None:
    walk = walk_of()
    with pytest.raises(GaitError, match="y must grow downwards"):
        clips(Walk(walk.joints * [1.0, -1.0], walk.confidence, 30.0, "a", "a"))
    with pytest.raises(GaitError, match=r"frame rate is 0\.033"):
        Walk(walk.joints, walk.confidence, 0.033, "a", "a")
    shares = Walk(walk.joints / [1920.0, 1080.0], walk.confidence, 30.0, "a", "a")
    assert any("shares of the picture" in flag for flag in quality_flags(shares))
    slow = Walk(walk.joints, walk.confidence, 10.0, "a", "a")
    assert any("low frame rate: 10 Hz" in flag for flag in quality_flags(clips(slow)[0]))


def test_columns_tell_walkers_and_walks_apart(tmp_path: Path) -> None:
    rows = [list(map(str, frame.ravel())) for frame in walk_of(40).joints]
    header = [f"{j}_{a}" for j in JOINTS for a in "xy"]

    def write(name: str, columns: list[str], values: list[list[str]]) -> Path:
        lines = [[*columns, *header], *([*v, *row] for v, row in zip(values, rows, strict=True))]
        (tmp_path / name).write_text("\n".join(map(",".join, lines)))
        return tmp_path / name

    tracked = write("ann.csv", ["person"], [["0"]] * 40)
    assert [w.subject for w in read_recording(tracked, "ann", rate=30)] == ["ann"]
    two = write("two.csv", ["person"], [["0"]] * 20 + [["1"]] * 20)
    assert [w.subject for w in read_recording(two, "ann", rate=30)] == ["ann person 0", "ann person 1"]
    whose = [["bob", "1"]] * 15 + [["bob", "2"]] * 15 + [["", "1"]] * 10
    parts = write("parts.csv", ["subject", "clip"], whose)
    found = [(w.subject, len(w.joints)) for w in read_recording(parts, "ann", rate=30)]
    assert found == [("bob", 15), ("bob", 15), ("ann", 10)]


def test_a_walk_there_and_back_is_drawn_from_ahead() -> None:
    walk = walk_of()

    def record(own: Walk) -> dict[str, Any]:
        pose = [[float(x), float(y)] for x, y in own.joints.mean(0) - own.joints.mean((0, 1))]
        empty: dict[str, Any] = {"measures": {}, "z": {}, "without": {}, "drivers": [], "flags": []}
        return {"subject": "a", "score": 0.1, "repeats": [0.1], "pose": pose, **empty}

    back = Walk(walk.joints * [-1.0, 1.0], walk.confidence, 30.0, "a", "a")
    there = summary([record(walk)], 0.5)["pose"]
    both = summary([record(walk), record(back)], 0.5)["pose"]
    np.testing.assert_allclose(both, there, atol=1e-9)
    assert both[INDEX["left_shoulder"]][0] > both[INDEX["right_shoulder"]][0]
    assert mirrored(walk).joints.shape == walk.joints.shape


def test_results_of_a_run_are_no_recordings(tmp_path: Path) -> None:
    for name in ("a.csv", "json/b.json", "old/json/c.json", "old/simulated/d.csv", "mine/json/e.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "old" / "run.json").write_text('{"schema": "spinecore.screening-run/1"}')
    names = [r.name for r in find_recordings([tmp_path], exclude=tmp_path)]
    assert names == ["a.csv", "mine/json/e.json"]
    assert "json/b.json" in [r.name for r in find_recordings([tmp_path])]
