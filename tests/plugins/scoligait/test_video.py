"""Videos as players show them."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from spinecore.plugins.scoligait.readers import read_recording

HEIGHT, WIDTH = 96, 128
FRAMES = 3
# The matrix of ISO/IEC 14496-12, 8.3.2, that players apply: a, b, u, c, d, v, x, y, w.
ONE = 1 << 16
UPRIGHT = (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
MATRICES = {
    "as it is": UPRIGHT,
    "clockwise": (0, ONE, 0, -ONE, 0, 0, HEIGHT * ONE, 0, 1 << 30),
    "half a turn": (-ONE, 0, 0, 0, -ONE, 0, WIDTH * ONE, HEIGHT * ONE, 1 << 30),
    "counterclockwise": (0, -ONE, 0, ONE, 0, 0, 0, WIDTH * ONE, 1 << 30),
}
# Where the lamp in the upper left corner of the frames lies on the screen.
SHOWN = {
    "as it is": (16, 8),
    "clockwise": (HEIGHT - 8, 16),
    "half a turn": (WIDTH - 16, HEIGHT - 8),
    "counterclockwise": (8, WIDTH - 16),
}


def lamp(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A pose estimator: every joint is the middle of what is bright."""
    y, x = np.nonzero(picture.mean(-1) > 128)
    return np.tile([x.mean() + 0.5, y.mean() + 0.5, 1.0], (17, 1))


def film(path: Path, matrix: tuple[int, ...]) -> Path:
    """A lamp 32 wide and 16 high in the upper left corner."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
        picture[:16, :32] = 255
        for _ in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    track = content.index(b"tkhd")
    at = content.index(struct.pack(">9i", *UPRIGHT), track)
    path.write_bytes(content[:at] + struct.pack(">9i", *matrix) + content[at + 36 :])
    return path


@pytest.mark.parametrize("turn", MATRICES)
def test_a_video_is_turned_as_its_file_says(turn: str, tmp_path: Path) -> None:
    (walk,) = read_recording(film(tmp_path / "walk.mp4", MATRICES[turn]), estimator=lamp)
    assert walk.joints.shape == (FRAMES, 17, 2)
    np.testing.assert_allclose(walk.joints[:, 0], np.tile(SHOWN[turn], (FRAMES, 1)), atol=1.0)
