"""The 238 features: named, invariant, equivariant, equal to a slow oracle; missing joints stay missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import correlate

from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.joints import INDEX, MIRROR
from spinecore.plugins.scoligait.kinematics import COLUMNS, FEATURES, knowledge_map
from spinecore.plugins.scoligait.kinematics.layout import (
    ANGLES,
    CORRELATED,
    GROUPS,
    MIRROR_RULE,
    PAIRS,
    VECTORS,
)

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(8, 100)


def walk(seed: int, frames: int) -> Array:
    """Joints that wander smoothly about a random skeleton."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(frames, 17, 2)).cumsum(0) + rng.normal(size=(17, 2)) * 40)


def test_columns_are_the_published_groups() -> None:
    assert FEATURES == 238
    assert {group: int(where.sum()) for group, where in GROUPS.items()} == {
        "coordinate": 34,
        "displacement": 106,
        "angle": 32,
        "correlation": 66,
    }
    assert len({c.name for c in COLUMNS}) == 238
    assert {c.unit for c in COLUMNS} == {"torso", "deg", "%"}


def point(joints: Array, name: str) -> Array:
    middles = {
        "pelvis": ("left_hip", "right_hip"),
        "shoulder_centre": ("left_shoulder", "right_shoulder"),
        "eye_centre": ("left_eye", "right_eye"),
    }
    if name in middles:
        a, b = middles[name]
        return np.asarray((joints[INDEX[a]] + joints[INDEX[b]]) / 2)
    return np.asarray(joints[INDEX[name]])


def slow_map(joints: Array) -> Array:
    """The same definitions, one number at a time."""
    frames = len(joints)
    torso = np.median([math.dist(point(f, "pelvis"), point(f, "shoulder_centre")) for f in joints])
    rows = []
    for f in joints:
        row: list[float] = []
        for j in range(17):
            row += [float(v) for v in (f[j] - point(f, "pelvis")) / torso]
        for a, b in VECTORS:
            row += [float(v) for v in (point(f, b) - point(f, a)) / torso]
        for (a, b), (c, d), _ in ANGLES:
            u, v = point(f, b) - point(f, a), point(f, d) - point(f, c)
            turn = math.degrees(math.atan2(v[1], v[0]) - math.atan2(u[1], u[0]))
            row.append(180.0 - (180.0 - turn) % 360.0)
        rows.append(row)
    signal = {
        name: np.array([math.dist(point(f, name), point(f, "pelvis")) / torso for f in joints])
        for name in CORRELATED
    }
    columns = []
    for a, b in PAIRS:
        x, y = signal[a] - signal[a].mean(), signal[b] - signal[b].mean()
        full = correlate(x, y, mode="full", method="direct")
        start = frames - 1 - frames // 2
        columns.append(100 * full[start : start + frames] / math.sqrt((x @ x) * (y @ y)))
    return np.concatenate([np.array(rows), np.stack(columns, 1)], 1)


def apart(a: Array, b: Array) -> Array:
    """Differences, those of angles round the circle."""
    d = np.abs(a - b)
    angle = GROUPS["angle"]
    d[:, angle] = np.minimum(d[:, angle], 360 - d[:, angle])
    return d


@settings(deadline=None, max_examples=15)
@given(seeds, lengths)
def test_equals_the_slow_oracle(seed: int, frames: int) -> None:
    joints = walk(seed, frames)
    assert apart(knowledge_map(joints).values, slow_map(joints)).max() < 1e-7


@settings(deadline=None, max_examples=25)
@given(seeds, lengths, st.floats(1e-3, 1e3), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_translation_and_scale_change_nothing(
    seed: int, frames: int, scale: float, dx: float, dy: float
) -> None:
    joints = walk(seed, frames)
    moved = knowledge_map(joints * scale + [dx * scale, dy * scale])
    assert apart(moved.values, knowledge_map(joints).values).max() < 1e-6
    assert moved.torso == pytest.approx(scale * knowledge_map(joints).torso)


@settings(deadline=None, max_examples=25)
@given(seeds, lengths)
def test_mirrored_walk_gives_the_mirrored_map(seed: int, frames: int) -> None:
    joints = walk(seed, frames)
    got = knowledge_map((joints * [-1.0, 1.0])[:, list(MIRROR)]).values
    expected = knowledge_map(joints).values[:, MIRROR_RULE.source] * MIRROR_RULE.sign
    lag = np.arange(frames) - frames // 2
    inside = np.abs(lag) <= (frames - 1) // 2  # the outermost lag of an even length has no partner
    turned = expected[np.where(inside, frames // 2 - lag, 0)]
    expected[:, MIRROR_RULE.flipped] = turned[:, MIRROR_RULE.flipped]
    difference = apart(got, expected)
    difference[np.ix_(~inside, MIRROR_RULE.flipped)] = 0.0
    assert difference.max() < 1e-7


def test_two_mirrorings_are_none() -> None:
    source = MIRROR_RULE.source
    assert (source[source] == np.arange(238)).all()
    assert (MIRROR_RULE.sign * MIRROR_RULE.sign[source] == 1).all()


def test_a_body_in_step_correlates_fully_and_one_in_antiphase_negatively() -> None:
    time = np.arange(96) / 30
    joints = np.tile(walk(3, 8)[:1], (96, 1, 1))
    hips, shoulders = (
        (INDEX["left_hip"], INDEX["right_hip"]),
        (INDEX["left_shoulder"], INDEX["right_shoulder"]),
    )
    for j, at in zip((*hips, *shoulders), ((-1, 0), (1, 0), (-2, -5), (2, -5)), strict=True):
        joints[:, j] = at
    swing = np.sin(2 * np.pi * time)
    for name, sign in (("left_ankle", 1), ("right_ankle", 1), ("left_wrist", -1)):
        joints[:, INDEX[name]] = np.stack([np.zeros(96), 8 + sign * swing], 1)
    values = knowledge_map(joints).values
    place = {c.name: i for i, c in enumerate(COLUMNS)}
    middle = 96 // 2
    assert values[middle, place["correlation left_ankle with right_ankle"]] == pytest.approx(100)
    assert values[middle, place["correlation left_wrist with left_ankle"]] == pytest.approx(-100)
    assert (
        values[middle, place["correlation left_shoulder with left_ankle"]] == 0
    )  # a joint that stands still


@settings(deadline=None, max_examples=15)
@given(seeds, st.integers(1, 12), st.integers(1, 60))
def test_short_gaps_are_bridged_and_long_ones_stay_missing(seed: int, short: int, at: int) -> None:
    time = np.arange(96.0)[:, None, None]
    joints = walk(seed, 1) + time * np.random.default_rng(seed).normal(size=(1, 17, 2))  # straight lines
    sure = np.ones((96, 17))
    sure[at : at + short, INDEX["left_wrist"]] = 0.1
    assert apart(knowledge_map(joints, sure).values, knowledge_map(joints).values).max() < 1e-6
    sure[20:60, INDEX["right_ankle"]] = 0.0
    values = knowledge_map(joints, sure).values
    hit = np.array(["right_ankle" in c.name or "right_shank" in c.name for c in COLUMNS])
    framewise = ~GROUPS["correlation"]
    assert np.isnan(values[25:55][:, hit & framewise]).all()
    assert np.isfinite(values[:, ~hit]).all()
    assert np.isfinite(values[:15][:, hit]).all()


def test_what_is_no_walk_is_refused() -> None:
    with pytest.raises(GaitError, match=r"\(5, 17, 2\).*at least 8"):
        knowledge_map(np.zeros((5, 17, 2)))
    hidden = walk(0, 30)
    hidden[:, INDEX["left_hip"]] = np.nan
    with pytest.raises(GaitError, match="left_hip is not in any of 30 frames"):
        knowledge_map(hidden)
    with pytest.raises(GaitError, match="confidence has shape"):
        knowledge_map(walk(0, 30), np.ones((30, 16)))
