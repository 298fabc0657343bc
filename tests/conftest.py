"""For every test: which skips are allowed, memory that shows when nobody wrote it, a folder of films."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spinecore.io.atomic import write_csv
from spinecore.io.landmarks import VERTEBRAE_COLUMNS
from spinecore.spine.levels import LEVELS

ALLOWED_SKIPS = [
    r"no CUDA device",
    r"triton is not installed",
    r"no nvcc",
    r"no compute-sanitizer",
    r"this machine does not run (avx2|avx512)",
    r"only on (Linux|x86-64)",
]
"""A test may be skipped for one of these reasons; any other skip fails the session: green means tested."""
if not os.environ.get("SPINECORE_DATA"):
    ALLOWED_SKIPS.append(r"SPINECORE_DATA")  # real films; whoever names the folder means them to be tested
if not os.environ.get("CI"):
    # .ci/run installs the tools, and its compiler is the one whose instruction counts are recorded.
    ALLOWED_SKIPS += [r"no chromium", r"no valgrind", r"no instruction counts of"]

# What torch compiled in an earlier run holds the strides that operators had then, and asserts them.
_compiled = tempfile.TemporaryDirectory(prefix="spinecore-inductor-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _compiled.name

_forbidden: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where tests/gpu runs: on every GPU, or on the CPU, which stands in for one",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--device") == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise pytest.UsageError(
                "--device cuda: torch finds no CUDA device here; `spinecore doctor` says why. "
                "`make test` and `make test-gpu-less` need none."
            )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") == "cuda":
        return
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if needs_gpu:
        config.hook.pytest_deselected(items=needs_gpu)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _note_skip(report.nodeid, reason)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _note_skip(report.nodeid, reason)


def _note_skip(nodeid: str, reason: str) -> None:
    if not any(re.search(allowed, reason) for allowed in ALLOWED_SKIPS):
        _forbidden.append(f"{nodeid}: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _forbidden and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _forbidden:
        terminalreporter.section("skips that are not allowed", red=True)
        for line in _forbidden:
            terminalreporter.line(line)
        terminalreporter.line(
            "Make these tests run, or add the reason to ALLOWED_SKIPS in tests/conftest.py."
        )


@pytest.fixture(scope="session")
def aasce_folder() -> Path:
    """Folder of the real films; without SPINECORE_DATA a test is skipped, with it their absence fails."""
    folder = Path(os.environ.get("SPINECORE_DATA", "")) / "aasce"
    if not os.environ.get("SPINECORE_DATA") or not folder.is_dir():
        pytest.skip("SPINECORE_DATA names no folder that holds the set aasce")
    return folder


@pytest.fixture
def nan_memory() -> Iterator[None]:
    """Memory torch allocates without a value holds NaN (integers their maximum): what nobody wrote shows."""
    import torch

    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    fill_before = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.utils.deterministic.fill_uninitialized_memory = fill_before
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


HEIGHT, WIDTH = 640, 240


class FilmFolder:
    """Films with marked corners: a sine-shaped column of seventeen bodies whose amplitude sets the angle."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.landmarks = root / "vertebrae.csv"
        self.films = root / "films"
        self.corners: dict[str, NDArray[np.float64]] = {}

    def add(self, name: str, amplitude: float = 12.0, lean: float = 0.0, periods: float = 1.0) -> Path:
        y = np.linspace(40, HEIGHT - 40, 17)
        way = (y - y[0]) / (y[-1] - y[0])
        phase = way * 2 * np.pi * periods
        aside = lean * (0.5 - way)  # the top that far to image right of the bottom
        centers = np.stack([WIDTH / 2 + amplitude * np.sin(phase) + aside, y], axis=1)
        slope = (amplitude * np.cos(phase) * 2 * np.pi * periods - lean) / (y[-1] - y[0])
        across = np.stack([np.ones(17), -slope], axis=1) / np.hypot(1, slope)[:, None]
        along = np.stack([-across[:, 1], across[:, 0]], axis=1)
        half_width, half_height = 24 * across, 13 * along
        corners = np.stack(
            [
                centers - half_width - half_height,
                centers + half_width - half_height,
                centers - half_width + half_height,
                centers + half_width + half_height,
            ],
            axis=1,
        )
        self.corners[name] = corners
        self._write_landmarks()
        return self._write_film(name, centers)

    def _write_film(self, name: str, centers: NDArray[np.float64]) -> Path:
        path = self.films / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = np.arange(HEIGHT)
        middle = np.interp(rows, centers[:, 1], centers[:, 0])
        distance = np.abs(np.arange(WIDTH)[None, :] - middle[:, None])
        grey = np.where(distance < 26, 200, 90 - 0.3 * distance)
        Image.fromarray(grey.astype(np.uint8)).save(path)
        return path

    def _write_landmarks(self) -> None:
        rows = [
            (film, level, 1.0, *quad.ravel())
            for film, corners in self.corners.items()
            for level, quad in zip(LEVELS, corners, strict=True)
        ]
        write_csv(self.landmarks, VERTEBRAE_COLUMNS, rows)


@pytest.fixture
def folder(tmp_path: Path) -> FilmFolder:
    return FilmFolder(tmp_path)


class WriteSeries(Protocol):
    def __call__(
        self,
        folder: Path,
        planes: Sequence[NDArray[Any]],
        *,
        degrees: float = 9.0,
        spacing: tuple[float, float] = (0.7, 0.6),
        order: Sequence[int] | None = None,
    ) -> None: ...


@pytest.fixture
def write_series() -> WriteSeries:
    """Writes a sagittal DICOM series of its own, turned about the long axis, slices 4 mm apart; its files are
    named in another order than they lie.
    """

    def write(
        folder: Path,
        planes: Sequence[NDArray[Any]],
        *,
        degrees: float = 9.0,
        spacing: tuple[float, float] = (0.7, 0.6),
        order: Sequence[int] | None = None,
    ) -> None:
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

        folder.mkdir(parents=True, exist_ok=True)
        a = np.radians(degrees)
        across, down = np.array([np.sin(a), np.cos(a), 0.0]), np.array([0.0, 0.0, -1.0])
        normal = np.cross(across, down)
        series, study, frame = generate_uid(), generate_uid(), generate_uid()
        for n, plane in enumerate(planes):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID = MRImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
            data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
            data.Modality, data.SeriesInstanceUID, data.StudyInstanceUID = "MR", series, study
            data.FrameOfReferenceUID, data.InstanceNumber, data.PatientID = frame, n + 1, "P7"
            place = np.array([-50.0, -60.0, 80.0]) + 4.0 * n * normal
            data.ImagePositionPatient = [round(float(v), 6) for v in place]
            data.ImageOrientationPatient = [round(float(v), 8) for v in (*across, *down)]
            data.PixelSpacing, data.SliceThickness = list(spacing), 4.0
            data.Rows, data.Columns = plane.shape
            data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
            data.BitsAllocated = data.BitsStored = 16
            data.HighBit, data.PixelRepresentation = 15, 0
            data.PixelData = plane.astype(np.uint16).tobytes()
            number = (n * 7) % len(planes) if order is None else order[n]
            data.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)

    return write
