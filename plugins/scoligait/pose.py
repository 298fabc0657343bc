"""A recorded walk: joints over time, from whatever file they came."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .errors import GaitError
from .joints import INDEX, JOINTS, MIRROR

Array = NDArray[np.float64]

RATE = 30.0
"""Hz; the paper's clips have 96 frames at 30 Hz."""
CLIP_FRAMES = 96
LOW_RATE = 20.0
RATES = (5.0, 2000.0)
"""Frames a second of a recording of walking; ours."""
SURE = 0.3
"""Confidence below which a joint is missing; that of the knowledge map."""
EMPTY_END = 15
"""Frames without a trunk at either end of a recording that are cut off; fewer are gaps; our choice."""
SHORTEST = 32
"""Frames at 30 Hz below which a walk is refused: about one gait cycle; our choice."""


@dataclass(frozen=True)
class Walk:
    """One person's walk.

    Attributes:
        joints: (T, 17, 2) image positions, COCO order, x to the image's right, y down; NaN is missing.
        confidence: (T, 17), 0..1.
        rate: frames a second.
        name: of the recording.
        subject: whose it is; all walks of a subject stay on one side of a split.
        world: (T, 17, 3) positions in space (x to the subject's left, y up, z ahead), where the file had
            them.
        pictures: (T, H, W) grey frames or silhouettes of the person in 0..1, where the file had them.
        flags: what a reader should know of the quality.

    """

    joints: Array
    confidence: Array
    rate: float
    name: str
    subject: str
    world: Array | None = None
    pictures: NDArray[np.float32] | None = None
    flags: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.joints.ndim != 3 or self.joints.shape[1:] != (len(JOINTS), 2):
            raise GaitError(f"{self.name}: joints have shape {self.joints.shape}; (frames, 17, 2) is needed")
        if self.confidence.shape != self.joints.shape[:2]:
            raise GaitError(
                f"{self.name}: confidence has shape {self.confidence.shape}; (frames, 17) is needed"
            )
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise GaitError(f"{self.name}: the frame rate is {self.rate}; give --rate in frames a second")
        if not RATES[0] <= self.rate <= RATES[1]:
            raise GaitError(
                f"{self.name}: the frame rate is {self.rate:g}; {RATES[0]:g} to {RATES[1]:g} frames a second "
                "are read"
            )
        wild = np.asarray(np.isinf(self.joints).any(-1))
        if wild.any():
            object.__setattr__(self, "joints", np.where(wild[..., None], np.nan, self.joints))
            object.__setattr__(self, "confidence", np.where(wild, 0.0, self.confidence))
            words = f"{int(wild.sum())} joint positions are infinite: taken as missing"
            object.__setattr__(self, "flags", (*self.flags, words))

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.joints) / self.rate


def mirrored(walk: Walk) -> Walk:
    """The walk in a mirror: left and right change places."""
    order = list(MIRROR)
    world = None if walk.world is None else (walk.world * [-1.0, 1.0, 1.0])[:, order]
    pictures = None if walk.pictures is None else walk.pictures[:, :, ::-1].copy()
    return replace(
        walk,
        joints=(walk.joints * [-1.0, 1.0])[:, order],
        confidence=walk.confidence[:, order],
        world=world,
        pictures=pictures,
    )


def resampled(walk: Walk, rate: float = RATE) -> Walk:
    """At `rate` frames a second, by straight lines in time; a joint missing at the nearest frame stays so."""
    if abs(walk.rate - rate) < 1e-6 * rate or len(walk.joints) < 2:
        return walk
    count = max(2, int(np.floor((len(walk.joints) - 1) * rate / walk.rate + 1e-9)) + 1)
    at = np.arange(count) * walk.rate / rate
    low = np.minimum(at.astype(int), len(walk.joints) - 2)
    part = at - low
    nearest = np.minimum(np.rint(at).astype(int), len(walk.joints) - 1)

    def mixed(values: Array) -> Array:
        share = part.reshape(-1, *[1] * (values.ndim - 1))
        found = (1 - share) * values[low] + share * values[low + 1]
        # A neighbour that is missing must not take a seen frame with it.
        return np.asarray(np.where(np.isfinite(found), found, values[nearest]))

    return replace(
        walk,
        joints=mixed(walk.joints),
        confidence=mixed(walk.confidence),
        rate=rate,
        flags=(*walk.flags, *_slow(walk)),  # afterwards nobody can tell
        world=None if walk.world is None else mixed(walk.world),
        pictures=None if walk.pictures is None else walk.pictures[nearest],
    )


def part_of(walk: Walk, begin: int, end: int) -> Walk:
    """Frames `begin` to `end`."""
    return replace(
        walk,
        joints=walk.joints[begin:end],
        confidence=walk.confidence[begin:end],
        world=None if walk.world is None else walk.world[begin:end],
        pictures=None if walk.pictures is None else walk.pictures[begin:end],
    )


def _sure(walk: Walk) -> Walk:
    low = ~(walk.confidence >= SURE)
    return replace(walk, joints=np.where(low[..., None], np.nan, walk.joints))


def _trimmed(walk: Walk) -> Walk:
    trunk = [INDEX[f"{side}_{name}"] for side in ("left", "right") for name in ("shoulder", "hip")]
    seen = np.flatnonzero(np.isfinite(walk.joints[:, trunk]).all((1, 2)))
    if not len(seen):
        return walk  # the map says what is never seen
    first, end = int(seen[0]), int(seen[-1]) + 1
    first = first if first >= EMPTY_END else 0
    end = end if len(walk.joints) - end >= EMPTY_END else len(walk.joints)
    if (first, end) == (0, len(walk.joints)):
        return walk
    away = (first + len(walk.joints) - end) / walk.rate
    words = f"{away:.1f} s without a trunk at the beginning or end left out"
    return replace(part_of(walk, first, end), flags=(*walk.flags, words))


def _check_upright(walk: Walk) -> None:
    hips, ankles = (
        walk.joints[:, [INDEX[f"left_{name}"], INDEX[f"right_{name}"]], 1] for name in ("hip", "ankle")
    )
    below = (ankles - hips)[np.isfinite(ankles - hips)]
    if len(below) and float(np.median(below)) < 0:
        raise GaitError(f"{walk.name}: the ankles lie above the hips; y must grow downwards, as in pictures")


def clips(walk: Walk, frames: int = CLIP_FRAMES, stride: int | None = None) -> list[Walk]:
    """Windows of `frames` at 30 Hz, `stride` apart (default: no overlap); one short window of a short walk.
    Joints of low confidence are missing, and so are beginning and end without anybody.

    Raises:
        GaitError: a walk of less than `SHORTEST` frames, or upside down.

    """
    walk = _trimmed(resampled(_sure(walk)))
    _check_upright(walk)
    count = len(walk.joints)
    if count < SHORTEST:
        raise GaitError(
            f"{walk.name}: {walk.seconds:.2f} s long; a walk needs at least {SHORTEST / RATE:.2f} s "
            "(one gait cycle)"
        )
    if count <= frames:
        return [walk]
    begins = list(range(0, count - frames + 1, stride or frames))
    if count - begins[-1] - frames >= frames // 2:
        begins.append(count - frames)  # what is left over is worth a window that overlaps
    return [part_of(walk, b, b + frames) for b in begins]


def _slow(walk: Walk) -> tuple[str, ...]:
    return (f"low frame rate: {walk.rate:g} Hz",) if walk.rate < LOW_RATE else ()


def quality_flags(walk: Walk, minimum: float = 0.3) -> tuple[str, ...]:
    """What makes a walk doubtful, in words; limits are our choice."""
    seen = np.isfinite(walk.joints).all(-1) & (walk.confidence >= minimum)
    body = [INDEX[n] for n in JOINTS if not n.endswith(("eye", "ear")) and n != "nose"]
    flags = list(walk.flags)
    share = seen[:, body].mean(0)
    lost = [JOINTS[j].replace("_", " ") for j, s in zip(body, share, strict=True) if s < 0.5]
    if lost:
        flags.append(f"hardly seen: {', '.join(lost)}")
    elif share.min() < 0.8:
        flags.append(f"joints missing in up to {100 * (1 - share.min()):.0f} % of the frames")
    if walk.seconds < CLIP_FRAMES / RATE:
        flags.append(f"short: {walk.seconds:.1f} s")
    flags += _slow(walk)
    wrists = [INDEX["left_wrist"], INDEX["right_wrist"]]
    sides = walk.joints[:, INDEX["left_shoulder"], 0] - walk.joints[:, INDEX["right_shoulder"], 0]
    sides = sides[np.isfinite(sides)]
    if len(sides) and 0.1 < float(np.mean(sides > 0)) < 0.9:
        flags.append("left and right change places: the walker turns, or the pose estimator confuses sides")
    elif len(sides) and float(np.mean(sides > 0)) <= 0.1:
        flags.append("seen from behind, or mirrored: left is on the image's left")
    if walk.world is None and np.isfinite(walk.joints).any() and np.nanmax(np.abs(walk.joints)) <= 1.5:
        flags.append("shares of the picture, whose width and height are taken as equal: give pixels")
    if share.size and seen[:, wrists].mean() < 0.5 and not lost:
        flags.append("arms hardly seen")
    return tuple(dict.fromkeys(flags))
