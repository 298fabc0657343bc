"""Files of walks: every format gives the joints that were written; bad files say what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spinecore.plugins.scoligait.config import ScoliGaitConfig
from spinecore.plugins.scoligait.cycle import steps
from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.joints import INDEX, JOINTS
from spinecore.plugins.scoligait.network import ScoliGait
from spinecore.plugins.scoligait.pose import Walk
from spinecore.plugins.scoligait.reader import GaitReader
from spinecore.plugins.scoligait.readers import Recording, find_recordings, read_recording
from spinecore.plugins.scoligait.readers.estimators import MEDIAPIPE_33, OPENPOSE_25
from spinecore.plugins.scoligait.recordings import write_poses
from spinecore.plugins.scoligait.simulator import Camera, Walker, body, simulate
from spinecore.plugins.scoligait.text.findings import MEASURES, Reference

Array = NDArray[np.float64]
STILL = Camera(noise=0.0, dropout=0.0)


def pixels(frames: int = 60) -> Array:
    return simulate(Walker(0.0), STILL, np.random.default_rng(0), frames=frames).joints


def only(path: Path, **options: Any) -> Walk:
    (walk,) = read_recording(path, **options)
    return walk


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.floats(0, 0.3))
def test_csv_comes_back(tmp_path_factory: pytest.TempPathFactory, seed: int, dropout: float) -> None:
    path = tmp_path_factory.mktemp("csv") / "anna_trial1.csv"
    walk = simulate(Walker(0.3), Camera(dropout=dropout), np.random.default_rng(seed), frames=40)
    write_poses(path, walk)
    got = only(path)
    np.testing.assert_allclose(got.joints, walk.joints, atol=1e-3)
    np.testing.assert_allclose(got.confidence, walk.confidence, atol=1e-3)
    assert got.rate == 30


def test_plain_numbers_and_several_subjects(tmp_path: Path) -> None:
    joints = pixels()
    np.savetxt(tmp_path / "a.csv", joints.reshape(60, 34), delimiter=",")
    np.testing.assert_allclose(only(tmp_path / "a.csv", rate=25).joints, joints)
    header = ["subject", *(f"{j}_{a}" for j in JOINTS for a in "xy")]
    rows = [["ann" if t % 2 else "bob", *map(str, frame.ravel())] for t, frame in enumerate(joints)]
    (tmp_path / "two.csv").write_text("\n".join(",".join(r) for r in [header, *rows]))
    bob, ann = read_recording(tmp_path / "two.csv", rate=15)
    assert (bob.subject, ann.subject) == ("bob", "ann")
    np.testing.assert_allclose(ann.joints, joints[1::2])


def test_json_of_every_estimator(tmp_path: Path) -> None:
    joints = pixels(20)
    full = np.concatenate([joints, np.full((20, 17, 1), 0.8)], -1)
    alpha = [{"image_id": f"{t}.jpg", "keypoints": f.ravel().tolist()} for t, f in enumerate(full)]
    stranger = [{"image_id": f"{t}.jpg", "keypoints": (f / 3).ravel().tolist()} for t, f in enumerate(full)]
    media = []
    for frame in full:
        marks = [{"x": 0.0, "y": 0.0, "visibility": 0.0} for _ in range(33)]
        for j, at in enumerate(MEDIAPIPE_33):
            marks[at] = {"x": frame[j, 0] / 1920, "y": frame[j, 1] / 1080, "visibility": 0.8}
        media.append({"landmarks": marks})
    files: dict[str, Any] = {
        "alphapose.json": [e for pair in zip(stranger, alpha, strict=True) for e in pair],
        "mediapipe.json": {"frames": media, "width": 1920, "height": 1080, "fps": 30},
        "plain.json": {"rate": 30, "joints": full.tolist(), "subject": "ann"},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
        got = only(tmp_path / name, rate=30)
        np.testing.assert_allclose(got.joints, joints, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(got.confidence, 0.8)
    assert only(tmp_path / "plain.json").subject == "ann"
    folder = tmp_path / "openpose"
    folder.mkdir()
    for t, frame in enumerate(full):
        points = np.zeros((25, 3))
        points[list(OPENPOSE_25)] = frame
        people = [{"pose_keypoints_2d": points.ravel().tolist()}] if t != 7 else []
        (folder / f"walk_{t:06d}_keypoints.json").write_text(json.dumps({"people": people}))
    (found,) = find_recordings([folder])
    got = only(found.path)
    seen = np.arange(20) != 7
    np.testing.assert_allclose(got.joints[seen], joints[seen])
    assert np.isnan(got.joints[7]).all()
    assert "frame rate unknown" in got.flags[0]


def as_seen(world: Array) -> Array:
    """What a walk in space must look like from ahead."""
    return np.stack([world[..., 0], -world[..., 1]], -1)


# In a process of its own: once SimpleITK is loaded, ezc3d reads but cannot write (both share SWIG's types).
WRITE_C3D = """
import sys, ezc3d, numpy
points, target, *labels = sys.argv[1:]
file = ezc3d.c3d()
file["parameters"]["POINT"]["RATE"]["value"] = [30.0]
file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
file["parameters"]["POINT"]["LABELS"]["value"] = labels
file["data"]["points"] = numpy.load(points)
file.write(target)
"""


@pytest.mark.parametrize("up", [0, 1, 2])
def test_c3d_and_npz_in_space(tmp_path: Path, up: int) -> None:
    """Markers with any axis up give the same picture from ahead."""
    world = body(Walker(0.5, trunk_lean_deg=4.0), 90) * 1000
    turned = np.roll(world, up - 1, axis=-1)
    points = np.ones((4, 17, 90))
    points[:3] = turned.transpose(2, 1, 0)
    np.save(tmp_path / "points.npy", points)
    command = [sys.executable, "-c", WRITE_C3D, tmp_path / "points.npy", tmp_path / "walk.c3d", *JOINTS]
    subprocess.run(command, check=True)
    np.savez(tmp_path / "walk.npz", joints=turned, names=np.array(JOINTS), rate=30.0, subject="ann")
    # The pelvis turns a little with every step and the heading is its mean: equal to a centimetre.
    expected = as_seen(world)
    for name in ("walk.c3d", "walk.npz"):
        got = only(tmp_path / name)
        np.testing.assert_allclose(got.joints[..., 1], expected[..., 1], atol=1e-2)
        spread = got.joints[..., 0] - got.joints[..., :1, 0] - (expected[..., 0] - expected[..., :1, 0])
        assert np.abs(spread).max() < 25
        assert got.world is not None
        assert steps(got).cadence == pytest.approx(112, rel=0.02)


BVH = """HIERARCHY
ROOT Hips
{{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 JOINT LeftUpLeg
 {{
  OFFSET 10 0 0
  CHANNELS 3 Zrotation Xrotation Yrotation
  JOINT LeftLeg
  {{
   OFFSET 0 -40 0
   CHANNELS 3 Zrotation Xrotation Yrotation
   JOINT LeftFoot
   {{
    OFFSET 0 -42 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {{ OFFSET 0 0 10 }}
   }}
  }}
 }}
 JOINT RightUpLeg
 {{
  OFFSET -10 0 0
  CHANNELS 3 Zrotation Xrotation Yrotation
  JOINT RightLeg
  {{
   OFFSET 0 -40 0
   CHANNELS 3 Zrotation Xrotation Yrotation
   JOINT RightFoot
   {{
    OFFSET 0 -42 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {{ OFFSET 0 0 10 }}
   }}
  }}
 }}
}}
MOTION
Frames: {frames}
Frame Time: 0.01
{lines}
"""


def test_bvh_by_hand(tmp_path: Path) -> None:
    """A hip flexed by 90 degrees about x puts knee and ankle straight ahead."""
    still = [0.0] * 24
    still[1] = 90.0
    bent = list(still)
    bent[7] = -90.0  # Xrotation of LeftUpLeg
    lines = "\n".join(" ".join(map(str, still if t < 50 else bent)) for t in range(100))
    path = tmp_path / "walk.bvh"
    path.write_text(BVH.format(frames=100, lines=lines))
    world = only(path).world
    assert world is not None
    knee, ankle, hip = (world[:, INDEX[f"left_{n}"]] for n in ("knee", "ankle", "hip"))
    np.testing.assert_allclose(hip, [[10, 90, 0]] * 100, atol=1e-9)
    np.testing.assert_allclose(knee[0], [10, 50, 0], atol=1e-9)
    np.testing.assert_allclose(ankle[0], [10, 8, 0], atol=1e-9)
    np.testing.assert_allclose(knee[99], [10, 90, 40], atol=1e-9)
    np.testing.assert_allclose(ankle[99], [10, 90, 82], atol=1e-9)


BAD: dict[str, tuple[str, str]] = {
    "empty.csv": ("", "is empty"),
    "words.csv": ("a,b\n1,2\n", "no columns like left_hip_x"),
    "cell.csv": ("left_hip_x,left_hip_y\n1,2\n3,oops\n", r"line 3, column left_hip_y: 'oops'"),
    "short.csv": ("1,2,3\n", "3 numbers a line"),
    "ragged.csv": ("left_hip_x,left_hip_y\n1\n", r"line 2: 1 fields"),
    "broken.json": ("{", "not readable JSON"),
    "people.json": ('{"people": []}', "give the folder"),
    "other.json": ('{"a": 1}', "no known form"),
    "some.json": ('[{"image_id": 1, "keypoints": [1, 2, 3]}]', "1 keypoints"),
    "marks.json": ('[{"landmarks": [1, 2]}]', "2 landmarks; MediaPipe's pose has 33"),
    "ones.json": ("[1]", "no list of landmarks"),
    "nobody.json": ("[null]", "no person in any of 1 frames"),
    "rate.json": ('{"rate": "fast", "joints": []}', "the rate is 'fast'"),
    "bad.npz": ("no zip", "not a readable NPZ"),
    "bad.c3d": ("no c3d", "not a readable C3D"),
    "bad.trc": ("x\n", "must begin with PathFileType"),
    "bad.bvh": ("MOTION", "must begin with HIERARCHY"),
    "cut.bvh": ("HIERARCHY\nROOT Hips {", "broken BVH"),
    "walk.txt": ("", "is unknown"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_say_what_is_wrong(tmp_path: Path, name: str) -> None:
    content, words = BAD[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(GaitError, match=words) as caught:
        read_recording(tmp_path / name)
    assert name in str(caught.value)


def never_both() -> Array:
    """The left shoulder in one half of the frames, the right one in the other."""
    points = pixels()
    points[:30, INDEX["left_shoulder"]] = np.nan
    points[30:, INDEX["right_shoulder"]] = np.nan
    return points


def untrained() -> tuple[ScoliGait, dict[str, Any]]:
    """A model and a card; the poses are refused before either matters."""
    reference = Reference(*(np.full(len(MEASURES), v) for v in (0.0, 1.0)), 1)
    return ScoliGait(ScoliGaitConfig()), {"reference": reference.as_dict()}


@pytest.mark.parametrize(
    ("points", "rate", "words"),
    [
        (pixels(1), 30, r"0\.03 s long; a walk needs at least 1\.07 s"),
        (
            np.full((96, 17, 2), np.nan),
            30,
            r"hip are not in any of 96 frames; .*both hips",
        ),
        (never_both(), 30, r"seen together in 0 of 60 frames; a walk needs the whole trunk"),
        (np.zeros((96, 17, 2)), 30, r"96 of 96 frames and their distance is 0"),
        (np.zeros((96, 21, 2)), 30, r"shape \(96, 21, 2\); \(T, 17, 2 or 3\) is needed"),
        (pixels(), -3, r"the frame rate is -3\.0; give --rate"),
    ],
)
def test_bad_poses_name_file_value_and_remedy(tmp_path: Path, points: Array, rate: float, words: str) -> None:
    path = tmp_path / "some walk.npz"
    np.savez(path, joints=points, rate=rate)
    reader = GaitReader(*untrained())
    with pytest.raises(GaitError, match=words) as caught:
        reader.screen(Recording(path, "some walk.npz", "anna"), tmp_path, "plot")
    assert str(caught.value).startswith(str(path))


def test_infinite_joints_are_missing(tmp_path: Path) -> None:
    points = pixels()
    points[4, 9] = np.inf
    np.savez(tmp_path / "walk.npz", joints=points, rate=30)
    walk = only(tmp_path / "walk.npz")
    assert np.isnan(walk.joints[4, 9]).all()
    assert walk.confidence[4, 9] == 0
    assert walk.flags == ("1 joint positions are infinite: taken as missing",)
    assert np.isfinite(walk.joints).sum() == points.size - 2


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([".csv", ".json", ".npz", ".trc", ".bvh"]), st.binary(max_size=200))
def test_noise_is_refused_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("noise") / f"walk{suffix}"
    path.write_bytes(content)
    with pytest.raises(GaitError, match="walk"):
        read_recording(path)


def test_names_tell_the_subject(tmp_path: Path) -> None:
    names = (
        "ann/one.csv",
        "bob_trial2.csv",
        "bob_trial10.csv",
        "p_01.csv",
        "p_02.csv",
        ".hidden.csv",
        "x.txt",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = {r.name: r.subject for r in find_recordings([tmp_path])}
    assert found == {
        "ann/one.csv": "ann",
        "bob_trial2.csv": "bob",
        "bob_trial10.csv": "bob",
        "p_01.csv": "p_01",
        "p_02.csv": "p_02",
    }
    (tmp_path / "monday").mkdir()
    (tmp_path / "monday" / "one.csv").write_text("x")
    both = find_recordings([tmp_path / "ann", tmp_path / "monday"])
    assert [recording.name for recording in both] == ["ann/one.csv", "monday/one.csv"]
    assert [recording.subject for recording in both] == ["ann/one", "monday/one"]
    with pytest.raises(GaitError, match="no such file"):
        find_recordings([tmp_path / "none"])
