"""The set of two actors, on small files in its form: actors and describing people are apart; bodies vary."""

from __future__ import annotations

import csv
import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spinecore.plugins.scoligait.augment import PARTS, other_body, varied
from spinecore.plugins.scoligait.config import ScoliGaitConfig
from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.joints import INDEX
from spinecore.plugins.scoligait.kinematics import COLUMNS, knowledge_map
from spinecore.plugins.scoligait.pose import Walk
from spinecore.plugins.scoligait.readers.markers import walk_in_space
from spinecore.plugins.scoligait.samples import check_split
from spinecore.plugins.scoligait.simulator import Walker, body
from spinecore.plugins.scoligait.space import seen_from
from spinecore.plugins.scoligait.study.gait_text import GaitText
from spinecore.plugins.scoligait.study.sets import STUDIES
from spinecore.plugins.scoligait.text.encoders import hashed

Array = NDArray[np.float64]

NAMES = {
    f"{side.title()}{part}": f"{side}_{part.lower()}"
    for side in ("left", "right")
    for part in ("Hip", "Knee", "Ankle", "Shoulder", "Elbow", "Wrist")
} | {"Head_end": "nose"}
PEOPLE = 12
CONFIG = ScoliGaitConfig(outcomes=3, map_patch=4, tubelet=4, text_length=16)


def small_set(folder: Path) -> Path:
    """Three motions of each actor, described by twelve people who each say their own number."""
    motions: dict[str, Array] = {}
    rows, words = [], []
    for actor in "kt":
        for limp in (0.0, 0.5, 1.0):
            name = f"{actor}_{limp}"
            world = 100 * body(Walker(limp, hip_tilt_deg=5 * limp, height=1.6 if actor == "k" else 1.8), 110)
            motions[name] = world[:, [INDEX[j] for j in NAMES.values()]].astype(np.float32)
            rows.append({"motion": name, "actor": actor, "limp": limp})
            words += [
                {"motion": name, "annotator": p, "verb": f"says{p}", "mod1": "", "mod2": "", "mod3": ""}
                for p in range(PEOPLE)
            ]
    np.savez(folder / "joint_positions_33hz.npz", joints=np.array(list(NAMES)), **motions)  # type: ignore[arg-type]
    with (folder / "motions.csv").open("w", newline="") as plain:
        writer = csv.DictWriter(plain, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with gzip.open(folder / "annotations_anonymised.csv.gz", "wt", newline="") as packed:
        writer = csv.DictWriter(packed, list(words[0]))
        writer.writeheader()
        writer.writerows(words)
    return folder


def test_actors_and_words_are_apart(tmp_path: Path) -> None:
    data = GaitText(small_set(tmp_path), CONFIG)
    spoken = {p: tuple(hashed([f"says{p}"], CONFIG.vocabulary, 16)[0]) for p in range(PEOPLE)}
    for actor in "kt":
        clips, train, test = data.clips(actor, seed=1)
        check_split(clips.subject, train, test)
        heard = []
        for part in (train, test):
            own = clips.take(part)
            texts = {tuple(row) for row in own.text.reshape(-1, 16).tolist()}
            heard.append({p for p, tokens in spoken.items() if tokens in texts})
            assert sorted(set(own.outcome.tolist())) == [0, 1, 2]
            assert set(own.severity.tolist()) == {0.0, 0.5, 1.0}
        assert not heard[0] & heard[1]
        assert len(heard[0]) == len(heard[1]) == PEOPLE // 2
        judged = clips.take(test)
        for walk in judged.walk.unique():
            first = judged.text[judged.walk == walk][:, 0]
            assert (first == first[0]).all()  # one description a walk
        assert len(train) > 3 * len(test)  # other bodies and sides are for training alone
    with pytest.raises(GaitError, match=r"motions\.csv: no such file"):
        STUDIES["gait_text_3d"](tmp_path / "none").judge("map", 1, None, False)


def test_another_body_keeps_every_turn() -> None:
    """Bone directions stay, lengths change alike on both sides."""
    world = body(Walker(0.5, trunk_lean_deg=3.0), 40)
    scales = {part: 1 + 0.05 * (i + 1) for i, part in enumerate(PARTS)}
    other = other_body(world, scales)
    for a, b, part in (("left_hip", "left_knee", "thigh"), ("right_elbow", "right_wrist", "forearm")):
        before = world[:, INDEX[b]] - world[:, INDEX[a]]
        after = other[:, INDEX[b]] - other[:, INDEX[a]]
        np.testing.assert_allclose(after, scales[part] * before, atol=1e-12)
    np.testing.assert_allclose(other_body(world, dict.fromkeys(PARTS, 1.0)), world, atol=1e-12)


def test_a_motion_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = small_set(tmp_path)
    path = folder / "joint_positions_33hz.npz"
    with np.load(path) as file:
        kept = dict(list(file.items())[:-1])
    np.savez(path, **kept)
    with pytest.raises(GaitError, match=r"joint_positions_33hz.npz: .*as it was published"):
        GaitText(folder, CONFIG)
    path.unlink()
    with pytest.raises(GaitError, match=r"joint_positions_33hz.npz.*as it was published"):
        GaitText(folder, CONFIG)


def test_variants_need_space_and_follow_the_seed(tmp_path: Path) -> None:
    data = GaitText(small_set(tmp_path), CONFIG)
    again = GaitText(small_set(tmp_path), CONFIG)
    for a, b in zip(data.arrays, again.arrays, strict=True):
        np.testing.assert_array_equal(a["map"], b["map"])
    world = body(Walker(0.0), 40)
    walk = Walk(seen_from(world), np.ones((40, 17)), 30.0, "a", "a", world=world)
    one, two = (varied(walk, np.random.default_rng(s), (0, 90)) for s in (1, 2))
    assert not np.allclose(one.joints, two.joints)
    with pytest.raises(GaitError, match="holds no joints in space"):
        varied(replace(walk, world=None), np.random.default_rng(0), (0, 90))


def test_real_walks_head_forward() -> None:
    """On the real set: ahead is where the walkers go, and every walk gives a whole map."""
    folder = Path(os.environ.get("SPINECORE_DATA", "")) / "gait_text_3d"
    if not os.environ.get("SPINECORE_DATA") or not folder.is_dir():
        pytest.skip("SPINECORE_DATA names no folder that holds the set gait_text_3d")
    with np.load(folder / "joint_positions_33hz.npz") as file:
        names = [str(n) for n in file["joints"]]
        motions = [n for n in file.files if n not in ("joints", "parents")][::8]
        for motion in motions:
            points = file[motion].astype(float)
            walk = walk_in_space(points, names, 100 / 3, motion, motion[0])
            assert walk.world is not None
            # The toes of the set, which no reader of ours uses, point ahead.
            toes = points[:, names.index("LeftAnkle_end")] - points[:, names.index("LeftAnkle")]
            line = points[:, names.index("LeftHip")] - points[:, names.index("RightHip")]
            ahead = np.stack([-line[:, 2], line[:, 0]], 1)
            assert np.median((toes[:, [0, 2]] * ahead).sum(1)) > 0, motion
            shoulders = walk.joints[:, INDEX["left_shoulder"], 0] - walk.joints[:, INDEX["right_shoulder"], 0]
            assert np.median(shoulders) > 0, motion  # from ahead the left is on the picture's right
            assert np.ptp(walk.world[:, INDEX["left_ankle"], 2] - walk.world[:, INDEX["left_hip"], 2]) > 20
            values = knowledge_map(walk.joints, walk.confidence).values
            known = np.array(["eye" not in c.name and "ear" not in c.name for c in COLUMNS])
            assert np.isfinite(values[:, known]).all(), motion
