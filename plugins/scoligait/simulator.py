"""A walking person with known asymmetries: a kinematic model, a camera, noise and drop-outs.

It gives exact answers for tests and the training data of the shipped weights. How asymmetries grow with
"severity" is our invention: nothing here is fitted to patients, and what is learned from it says nothing
about real ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .joints import INDEX
from .pose import Walk

Array = NDArray[np.float64]

POSITIVE = 0.5
"""Severity from which a simulated walker counts as positive."""
# What a severity of 1 adds at most, by name; degrees, or shares of the arm swing or of the torso.
FULL = {
    "trunk_lean_deg": 6.0,
    "shoulder_tilt_deg": 6.0,
    "hip_tilt_deg": 5.0,
    "trunk_shift": 0.14,
    "arm_swing_asymmetry": 0.6,
    "trunk_rotation_deg": 9.0,
}
SPREAD = 0.2
"""Spread of the same asymmetries among the healthy, as a share of `FULL`."""


@dataclass(frozen=True)
class Walker:
    """A person: severity 0..1, asymmetries (positive: to the left, or the left side lower or larger), body
    and gait.

    Lengths in m; `cadence` steps a minute; angles in degrees.
    """

    severity: float
    trunk_lean_deg: float = 0.0
    shoulder_tilt_deg: float = 0.0
    hip_tilt_deg: float = 0.0
    trunk_shift: float = 0.0
    arm_swing_asymmetry: float = 0.0
    trunk_rotation_deg: float = 0.0
    height: float = 1.65
    shoulder_width: float = 0.215
    hip_width: float = 0.13
    leg: float = 0.49
    trunk: float = 0.295
    cadence: float = 112.0
    stride: float = 0.75
    arm_swing_deg: float = 22.0
    sway: float = 0.02
    phase: float = 0.0


@dataclass(frozen=True)
class Camera:
    """Ahead of the walker: height and start distance in m, turn about the vertical in degrees, focal length
    and picture height in pixels, spread of the joints' noise in torso lengths, share of joints that drop out.
    """

    height: float = 1.5
    distance: float = 8.0
    azimuth_deg: float = 0.0
    focal: float = 1400.0
    pixels: int = 1080
    noise: float = 0.01
    dropout: float = 0.02


def draw_walker(draw: np.random.Generator, severity: float | None = None) -> Walker:
    """A random person; without `severity` it is drawn evenly from 0 to 1, so that half are positive."""
    if severity is None:
        severity = float(draw.uniform(0.0, 1.0))
    side = 1.0 if draw.random() < 0.5 else -1.0
    shares = draw.uniform(0.3, 1.0, len(FULL))  # which asymmetries a person has differs
    own = draw.normal(0.0, SPREAD, len(FULL))
    marks = {
        name: float(full * (side * severity * share + noise))
        for (name, full), share, noise in zip(FULL.items(), shares, own, strict=True)
    }
    return Walker(
        severity,
        **marks,
        height=float(np.clip(draw.normal(1.62, 0.09), 1.35, 1.9)),
        shoulder_width=float(draw.uniform(0.19, 0.235)),
        hip_width=float(draw.uniform(0.115, 0.15)),
        leg=float(draw.uniform(0.47, 0.51)),
        trunk=float(draw.uniform(0.275, 0.315)),
        cadence=float(draw.normal(112, 8)),
        stride=float(draw.uniform(0.65, 0.85)),
        arm_swing_deg=float(draw.uniform(14, 30)),
        sway=float(draw.uniform(0.01, 0.03)),
        phase=float(draw.uniform(0, 2 * np.pi)),
    )


def draw_camera(draw: np.random.Generator) -> Camera:
    """A phone on a tripod, roughly ahead."""
    return Camera(
        height=float(draw.uniform(1.0, 2.2)),
        distance=float(draw.uniform(7.5, 9.5)),
        azimuth_deg=float(draw.uniform(-8, 8)),
        focal=float(draw.uniform(1200, 1700)),
        noise=float(draw.uniform(0.005, 0.02)),
        dropout=float(draw.uniform(0.0, 0.05)),
    )


def body(walker: Walker, frames: int, rate: float = 30.0) -> Array:
    """(frames, 17, 3) in m: x to the walker's left, y up, z ahead; exact, without noise."""
    h = walker.height
    time = np.arange(frames) / rate
    phase = walker.phase + np.pi * walker.cadence / 60 * time  # one stride is a full turn
    out = np.zeros((frames, 17, 3))
    thigh, shank = 0.5 * walker.leg * h, 0.5 * walker.leg * h
    trunk = walker.trunk * h
    speed = walker.stride * h * walker.cadence / 120
    pelvis = np.stack(
        [
            walker.sway * h * np.sin(phase),
            0.985 * walker.leg * h + 0.04 * h + 0.012 * h * np.cos(2 * phase),
            speed * time,
        ],
        1,
    )
    obliquity = np.radians(-walker.hip_tilt_deg + 3.0 * np.sin(phase))
    across = np.stack([np.cos(obliquity), np.sin(obliquity), 0.08 * np.sin(phase)], 1)
    for side, sign, swing in (("left", 1.0, phase), ("right", -1.0, phase + np.pi)):
        hip = pelvis + sign * walker.hip_width / 2 * h * across
        flexion = np.radians(8 + 24 * np.sin(swing))
        bend = np.radians(8 + 52 * np.clip(np.sin(swing - 0.35 * np.pi + np.pi / 2), 0, None) ** 2)
        knee = hip + thigh * _down(flexion)
        out[:, INDEX[f"{side}_hip"]] = hip
        out[:, INDEX[f"{side}_knee"]] = knee
        out[:, INDEX[f"{side}_ankle"]] = knee + shank * _down(flexion - bend)
    lean = np.radians(walker.trunk_lean_deg + 1.5 * np.sin(phase))
    up = np.stack([np.sin(lean), np.cos(lean), np.full(frames, 0.05)], 1)
    neck = pelvis + trunk * up
    neck[:, 0] += walker.trunk_shift * trunk
    tilt = np.radians(-walker.shoulder_tilt_deg - 1.5 * np.sin(phase))
    turn = np.radians(walker.trunk_rotation_deg - 6.0 * np.sin(phase))
    line = np.stack([np.cos(tilt) * np.cos(turn), np.sin(tilt), -np.cos(tilt) * np.sin(turn)], 1)
    for side, sign, swing in (("left", 1.0, phase + np.pi), ("right", -1.0, phase)):
        shoulder = neck + sign * walker.shoulder_width / 2 * h * line
        reach = walker.arm_swing_deg * (1 + sign * walker.arm_swing_asymmetry / 2)
        arm = np.radians(reach * np.sin(swing))
        elbow = shoulder + 0.172 * h * _down(arm)
        elbow[:, 0] += sign * 0.02 * h
        out[:, INDEX[f"{side}_shoulder"]] = shoulder
        out[:, INDEX[f"{side}_elbow"]] = elbow
        out[:, INDEX[f"{side}_wrist"]] = elbow + 0.157 * h * _down(arm + np.radians(14))
    head = neck + 0.11 * h * up
    for name, x, y, z in (
        ("nose", 0.0, 0.0, 0.06),
        ("left_eye", 0.018, 0.02, 0.05),
        ("right_eye", -0.018, 0.02, 0.05),
        ("left_ear", 0.045, 0.01, 0.0),
        ("right_ear", -0.045, 0.01, 0.0),
    ):
        out[:, INDEX[name]] = head + h * np.array([x, y, z])
    return out


def simulate(
    walker: Walker,
    camera: Camera,
    draw: np.random.Generator,
    *,
    frames: int = 96,
    rate: float = 30.0,
    name: str = "simulated",
) -> Walk:
    """What a pose estimator would give of `walker` before `camera`: pixels, noise, missing joints."""
    world = body(walker, frames, rate)
    turn = np.radians(camera.azimuth_deg)
    x = world[..., 0] * np.cos(turn) - world[..., 2] * np.sin(turn)
    away = camera.distance - (world[..., 0] * np.sin(turn) + world[..., 2] * np.cos(turn))
    away = np.maximum(away, 1.0)
    pixels = np.stack([x, camera.height - world[..., 1]], -1) * (camera.focal / away)[..., None]
    pixels += camera.pixels / 2
    torso = camera.focal / away.mean() * walker.trunk * walker.height
    pixels += draw.normal(0, camera.noise * torso, pixels.shape)
    sure = np.clip(draw.normal(0.9, 0.05, pixels.shape[:2]), 0.35, 1.0)
    missing = np.zeros(sure.shape, dtype=bool)
    for _ in range(draw.poisson(camera.dropout * frames * 17 / 4)):
        begin, joint = draw.integers(frames), draw.integers(17)
        missing[begin : begin + int(draw.integers(1, 8)), joint] = True
    sure[missing] = 0.0
    pixels[missing] = np.nan
    return Walk(pixels, sure, rate, name, name)


def _down(angle: Array) -> Array:
    """Unit vectors down, turned ahead by `angle` in radians."""
    return np.stack([np.zeros_like(angle), -np.cos(angle), np.sin(angle)], 1)
