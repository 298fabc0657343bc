"""Videos through every layout of pose models, and as players show them."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from spinecore.plugins.scoligait.errors import GaitError
from spinecore.plugins.scoligait.readers import read_recording
from spinecore.plugins.scoligait.readers.video import OnnxPose

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


def constant_model(path: Path, shape: list[int], answer: NDArray[np.float64]) -> None:
    """An ONNX model with a picture of `shape` as input that always answers `answer`."""
    helper = onnx.helper
    value = onnx.numpy_helper.from_array(answer.astype(np.float32), "points")
    nodes = [
        helper.make_node("ReduceSum", ["picture"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["points", "nothing"], ["pose"]),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "pose",
        [helper.make_tensor_value_info("picture", kind, shape)],
        [helper.make_tensor_value_info("pose", kind, list(answer.shape))],
        [value, onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


def test_every_layout_of_pose_models(tmp_path: Path) -> None:
    """The same joints as heat maps, as YOLO-pose and end to end; of several people the surest."""
    draw = np.random.default_rng(5)
    cells = np.stack([draw.integers(0, 12, 17), draw.integers(0, 16, 17)], 1)  # x, y in maps of 16 x 12
    maps = np.zeros((1, 17, 16, 12))
    maps[0, np.arange(17), cells[:, 1], cells[:, 0]] = 0.8
    joints = np.column_stack([4 * (cells + 0.5), np.full(17, 0.8)])  # in the input's pixels, 64 x 48
    people = np.zeros((1, 3, 57))
    people[0, :, 4] = 0.3, 0.9, 0.5
    people[0, 1, 6:] = joints.ravel()
    wide = np.delete(people, 5, axis=2).transpose(0, 2, 1)  # (1, 56, 3): no class
    picture = np.zeros((128, 96, 3), dtype=np.uint8)  # twice the input: no border
    for name, answer in {"maps": maps, "yolo": wide, "end_to_end": people}.items():
        constant_model(tmp_path / f"{name}.onnx", [1, 3, 64, 48], answer)
        found = OnnxPose(tmp_path / f"{name}.onnx")(picture)
        np.testing.assert_allclose(found[:, :2], 2 * joints[:, :2], atol=1e-3, err_msg=name)
        np.testing.assert_allclose(found[:, 2], 0.8, atol=1e-5, err_msg=name)
    people[0, :, 4] = 0.1  # nobody is sure enough
    constant_model(tmp_path / "nobody.onnx", [1, 3, 64, 48], people)
    assert not OnnxPose(tmp_path / "nobody.onnx")(picture)[:, 2].any()
    constant_model(tmp_path / "labels.onnx", [1, 3, 64, 48], np.zeros((1, 1000)))
    with pytest.raises(GaitError, match=r"labels\.onnx: output of shape \(1, 1000\) is unknown"):
        OnnxPose(tmp_path / "labels.onnx")(picture)
    constant_model(tmp_path / "flat.onnx", [1, 64], np.zeros((1, 17, 3)))
    with pytest.raises(GaitError, match=r"flat\.onnx: input has shape \[1, 64\]"):
        OnnxPose(tmp_path / "flat.onnx")


def test_video_through_an_onnx_model(tmp_path: Path) -> None:
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 128, 96
        for t in range(12):
            picture = np.full((96, 128, 3), 10 * t, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(GaitError, match=r"walk\.mp4.*--pose-model \(none is shipped\)"):
        read_recording(path)
    answer = np.stack([np.linspace(0.2, 0.8, 17), np.linspace(0.4, 0.6, 17), np.full(17, 0.9)], 1)
    constant_model(tmp_path / "pose.onnx", [1, 64, 64, 3], answer[None, None])  # MoveNet's form
    (walk,) = read_recording(path, estimator=OnnxPose(tmp_path / "pose.onnx"))
    assert (len(walk.joints), walk.rate) == (12, 25)
    # 128 x 96 lies in 64 x 64 at half size, 8 pixels from the top.
    expected = np.stack([answer[:, 1] * 128, (answer[:, 0] * 64 - 8) * 2], 1)
    np.testing.assert_allclose(walk.joints[5], expected, atol=1e-4)
    assert walk.pictures is not None
    assert walk.pictures.shape == (12, 96, 64)
    assert np.diff(walk.pictures[:, 48, 32]).min() > 0.02  # the frames grow brighter
    with pytest.raises(GaitError, match=r"no such pose model"):
        OnnxPose(tmp_path / "none.onnx")
