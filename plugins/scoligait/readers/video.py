"""Video through PyAV, poses by an ONNX model that the user names; none is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import GaitError
from ..pose import Walk

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

LONGEST_S = 60.0
CROP = (96, 64)
"""Height and width of the grey pictures that are kept of each frame."""


class PoseEstimator(Protocol):
    """Anything that finds a person in a picture."""

    def __call__(self, picture: Picture) -> Array:
        """Joints of an RGB picture (H, W, 3): (17, 3) x, y in its pixels and confidence."""
        ...


class OnnxPose:
    """An ONNX pose model on the CPU.

    Known outputs: MoveNet (1, 1, 17, 3) with y, x, confidence as shares; heat maps (1, 17, h, w) as of HRNet,
    ViTPose and SimpleBaseline; YOLO-pose (1, 56, n) or, end to end, (1, n, 57). The picture is fitted into
    the
    model's input with grey borders. MoveNet takes 0..255, YOLO 0..1, heat-map models ImageNet's mean and
    spread.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as e:
            raise GaitError(
                f"{path}: a pose model needs onnxruntime; install it with pip install "
                "'spinecore-torch[export]'"
            ) from e
        if not path.is_file():
            raise GaitError(f"{path}: no such pose model; give an ONNX file with --pose-model")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self.session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as e:  # onnxruntime's own errors share no base class
            raise GaitError(f"{path}: onnxruntime cannot load it ({str(e)[:200]})") from e
        self.path = path
        entry = self.session.get_inputs()[0]
        shape = [n if isinstance(n, int) and n > 0 else None for n in entry.shape]
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise GaitError(
                f"{path}: input has shape {entry.shape}; one RGB picture (1, 3, H, W) or (1, H, W, 3) fits"
            )
        self.name, self.kind, self.channels_last = entry.name, entry.type, shape[3] == 3
        height, width = shape[1:3] if self.channels_last else shape[2:4]
        self.height, self.width = height or 640, width or 640

    def __call__(self, picture: Picture) -> Array:
        """Joints of the surest person."""
        height, width = picture.shape[:2]
        scale = min(self.height / height, self.width / width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (self.width - size[0]) // 2, (self.height - size[1]) // 2
        board = np.full((self.height, self.width, 3), 114, dtype=np.uint8)
        board[top : top + size[1], left : left + size[0]] = np.asarray(Image.fromarray(picture).resize(size))
        outputs = self.session.run(None, {self.name: self._input(board)})
        points = self._points(np.asarray(outputs[0], dtype=float))
        points[:, 0] = (points[:, 0] - left) / scale
        points[:, 1] = (points[:, 1] - top) / scale
        return points

    def _input(self, board: Picture) -> NDArray[Any]:
        if "uint8" in self.kind or "int32" in self.kind:
            x: NDArray[Any] = board.astype(np.uint8 if "uint8" in self.kind else np.int32)
        else:
            x = board.astype(np.float16 if "float16" in self.kind else np.float32)
            shape = self.session.get_outputs()[0].shape
            if len(shape) == 4 and shape[1] == 17:
                x = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
            elif not self.channels_last:
                x = x / 255
            x = x.astype(np.float16 if "float16" in self.kind else np.float32)
        return (x if self.channels_last else x.transpose(2, 0, 1))[None]

    def _points(self, out: Array) -> Array:
        """Output to (17, 3) in the input's pixels."""
        if out.shape[-2:] == (17, 3):  # y, x, confidence as shares
            best = out.reshape(-1, 17, 3)
            best = best[int(best[..., 2].mean(1).argmax())]
            return np.stack([best[:, 1] * self.width, best[:, 0] * self.height, best[:, 2]], 1)
        if out.ndim == 4 and out.shape[1] == 17:
            maps = out[0].reshape(17, -1)
            at = maps.argmax(1)
            y, x = np.divmod(at, out.shape[3])
            fit = self.width / out.shape[3], self.height / out.shape[2]
            return np.stack([(x + 0.5) * fit[0], (y + 0.5) * fit[1], np.clip(maps.max(1), 0, 1)], 1)
        if out.ndim == 3 and out.shape[1] == 56:
            best = out[0, :, int(out[0, 4].argmax())]
            return self._scored(best[5:], best[4])
        if out.ndim == 3 and out.shape[2] == 57:
            best = out[0, int(out[0, :, 4].argmax())]
            return self._scored(best[6:], best[4])
        raise GaitError(
            f"{self.path}: output of shape {out.shape} is unknown; MoveNet (1, 1, 17, 3), heat maps "
            "(1, 17, h, w) and "
            "YOLO-pose (1, 56, n) are known"
        )

    @staticmethod
    def _scored(values: Array, sure: float) -> Array:
        points = values.reshape(17, 3).copy()
        points[:, 2] *= float(sure >= 0.25)
        return points


def read_video(path: Path, subject: str, estimator: PoseEstimator | None) -> Walk:
    """Poses of a video's frames by `estimator`, and grey pictures of the person.

    Raises:
        GaitError: no estimator, PyAV missing, or a file without a readable video stream.

    """
    if estimator is None:
        raise GaitError(
            f"{path}: a video needs a pose model; give an ONNX file with --pose-model (none is "
            "shipped), or poses as "
            "CSV, JSON or NPZ"
        )
    try:
        import av
    except ImportError as e:
        raise GaitError(
            f"{path}: reading video needs PyAV; install it with pip install 'spinecore-torch[video]'"
        ) from e
    points: list[Array] = []
    pictures: list[NDArray[np.float32]] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise GaitError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            for frame in container.decode(stream):
                picture = upright(frame.to_ndarray(format="rgb24").astype(np.uint8), frame.rotation)
                points.append(estimator(picture))
                pictures.append(person_crop(picture, points[-1]))
                if rate and len(points) > LONGEST_S * rate:
                    raise GaitError(f"{path}: longer than {LONGEST_S:g} s; cut out the walk")
    except av.FFmpegError as e:
        raise GaitError(f"{path}: not a readable video ({e}); convert it to MP4") from e
    if not points:
        raise GaitError(f"{path}: has no frames")
    if not rate:
        raise GaitError(f"{path}: states no frame rate; convert it to MP4 with a fixed rate")
    found = np.stack(points)
    return Walk(
        found[..., :2], np.clip(found[..., 2], 0, 1), rate, path.stem, subject, pictures=np.stack(pictures)
    )


def upright(picture: Picture, rotation: float) -> Picture:
    """A frame as players show it: telephones film lying down, and the file says how far to turn it, in
    degrees counterclockwise.
    """
    return np.ascontiguousarray(np.rot90(picture, round(rotation / 90)))


def person_crop(picture: Picture, points: Array) -> NDArray[np.float32]:
    """A grey picture (96, 64) in 0..1 round the seen joints; black where nobody is seen."""
    seen = points[points[:, 2] >= 0.3, :2]
    if len(seen) < 4:
        return np.zeros(CROP, dtype=np.float32)
    middle = (seen.min(0) + seen.max(0)) / 2
    half = 0.6 * max(float(np.ptp(seen[:, 1])), 1.5 * float(np.ptp(seen[:, 0])), 2.0)
    box = (middle[0] - half / 1.5, middle[1] - half, middle[0] + half / 1.5, middle[1] + half)
    grey = Image.fromarray(picture).convert("L").crop(tuple(round(v) for v in box)).resize(CROP[::-1])
    found: NDArray[np.float32] = np.asarray(grey, dtype=np.float32) / np.float32(255)
    return found
