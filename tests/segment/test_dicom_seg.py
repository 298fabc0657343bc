"""DICOM SEG: highdicom and pydicom read back what was written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from spinecore.io.dicom_seg import require_highdicom, write_dicom_seg
from spinecore.io.errors import FilmError, UsageError
from spinecore.io.volume import Volume, find_volumes, read_volume
from spinecore.segment.layout import load_result
from spinecore.segment.run import ScanReader, run_scans
from spinecore.segment.segments import INSTANCES, STRUCTURES
from spinecore.spine.lumbar.column import CANAL
from spinecore.spine.phantom.lumbar import LumbarPhantom, lumbar_phantom

SPACING = (0.94, 0.94)


class Known:
    """A network that knows the masks of a phantom by the grey values, which differ from slice to slice."""

    def __init__(self, phantoms: list[LumbarPhantom]) -> None:
        self.planes = [(phantom.pixels * 1000).astype(np.uint16) for phantom in phantoms]
        self.masks = [phantom.mask for phantom in phantoms]

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        best = min(range(len(self.planes)), key=lambda n: self._difference(n, pixels))
        return np.eye(4, dtype=np.float32)[self.masks[best]].transpose(2, 0, 1)

    def _difference(self, n: int, pixels: np.ndarray) -> float:
        plane = self.planes[n]
        rows = np.linspace(0, plane.shape[0] - 1, 64).astype(int)
        columns = np.linspace(0, plane.shape[1] - 1, 64).astype(int)
        at = np.ix_(rows * pixels.shape[0] // plane.shape[0], columns * pixels.shape[1] // plane.shape[1])
        return float(np.abs(plane[np.ix_(rows, columns)] - pixels[at]).sum())


def by_source(seg: highdicom.seg.Segmentation, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Label -> instance number of the source -> plane (H, W), as a viewer lays them over the series."""
    sources = sorted((pydicom.dcmread(f) for f in folder.iterdir()), key=lambda d: int(d.InstanceNumber))
    found = {}
    for number in seg.segment_numbers:
        planes = seg.get_pixels_by_source_instance(
            [d.SOPInstanceUID for d in sources],
            segment_numbers=[number],
            assert_missing_frames_are_empty=True,
        )
        name = seg.get_segment_description(number).SegmentLabel
        found[name] = {str(d.InstanceNumber): planes[i, ..., 0] for i, d in enumerate(sources)}
    return found


@pytest.mark.parametrize("degrees", [0.0, 9.0, -17.0])
def test_every_voxel_lies_over_its_source_in_an_oblique_series(
    degrees: float, tmp_path: Path, write_series: Any
) -> None:
    rng = np.random.default_rng(0)
    planes = [rng.integers(1, 900, (48, 40)) for _ in range(5)]
    write_series(tmp_path / "s", planes, degrees=degrees, order=[3, 0, 4, 1, 2])
    volume = read_volume(tmp_path / "s")
    write_dicom_seg(
        tmp_path / "out" / "m.dcm", (volume.pixels > 500).astype(np.uint8) * 2, volume, STRUCTURES, "a b"
    )
    seg = highdicom.seg.segread(tmp_path / "out" / "m.dcm")
    found = by_source(seg, tmp_path / "s")
    assert list(found) == ["discs"]
    for n, plane in enumerate(planes, 1):
        assert np.array_equal(found["discs"][str(n)], plane > 500)
    source = pydicom.dcmread(next((tmp_path / "s").iterdir()))
    assert (seg.PatientID, seg.PatientName, seg.Modality) == ("P7", "", "SEG")
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID


def test_a_run_writes_named_levels_over_the_series(tmp_path: Path, write_series: Any) -> None:
    phantoms = [lumbar_phantom(3, 256, 208, vertebrae=6, lateral=lateral) for lateral in (0.5, 0.0, 0.5)]
    reader = Known(phantoms)
    write_series(tmp_path / "in" / "t2", reader.planes, degrees=8.0, spacing=SPACING, order=[2, 0, 1])
    (tmp_path / "in" / "broken.nii").write_bytes(b"no volume" * 50)
    out = tmp_path / "out"
    sources = find_volumes([tmp_path / "in"])
    summary = run_scans(sources, ScanReader(reader, "known", dicom_seg="spinecore known"), out)
    assert (summary.segmented, summary.failed) == (1, 1)
    result = load_result(out, "t2")
    assert result is not None, list(out.rglob("*.json"))
    assert result.outputs["seg"] == "masks/t2.dcm"
    found = by_source(highdicom.seg.segread(out / "masks" / "t2.dcm"), tmp_path / "in" / "t2")
    named = {size.level for size in result.sizes}
    assert named - {""} <= set(found)
    assert {"spinal canal", "posterior elements"} <= set(found)
    middle = phantoms[1]
    assert (found["spinal canal"]["2"] == (middle.mask == CANAL)).mean() > 0.99
    x, y = middle.bodies["L3"].mean(axis=0)
    assert found["L3"]["2"][int(y), int(x)] == 1
    # Without the option there is none, and a resumed run knows the difference.
    again = run_scans(sources, ScanReader(reader, "known"), out, resume=True)
    assert again.reused == 0
    assert not (out / "masks" / "t2.dcm").exists()


def test_codes_are_those_of_the_standard() -> None:
    discs = {s.label: s.code for s in INSTANCES.values() if "/" in s.label}
    names = [name for name in dir(codes.cid7604) if name.endswith("Disc")]
    standard = {name.removesuffix("Disc"): getattr(codes.cid7604, name).value for name in names}
    for label, code in discs.items():
        assert standard[label.replace("/", "")] == code
    for segment in INSTANCES.values():
        if segment.label[0] in "LT" and "/" not in segment.label:
            assert getattr(codes.SCT, f"{segment.label}Vertebra").value == segment.code
    assert codes.SCT.Vertebra.value == STRUCTURES[1].code
    assert codes.SCT.VertebralCanal.value == STRUCTURES[CANAL].code


def test_what_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_series: Any
) -> None:
    write_series(tmp_path / "s", [np.full((48, 40), n + 1) + np.eye(48, 40) for n in range(3)], degrees=0.0)
    volume = read_volume(tmp_path / "s")
    empty = np.zeros(volume.pixels.shape, np.uint8)
    with pytest.raises(FilmError, match="mask is empty"):
        write_dicom_seg(tmp_path / "m.dcm", empty, volume, STRUCTURES, "x")
    with pytest.raises(FilmError, match="no DICOM series"):
        write_dicom_seg(
            tmp_path / "m.dcm", empty, Volume(volume.pixels, None, volume.origin), STRUCTURES, "x"
        )
    for file in (tmp_path / "s").iterdir():
        data = pydicom.dcmread(file)
        del data.StudyInstanceUID
        data.save_as(file)
    with pytest.raises(FilmError, match="StudyInstanceUID"):
        write_dicom_seg(tmp_path / "m.dcm", empty + 1, volume, STRUCTURES, "x")
    assert not (tmp_path / "m.dcm").exists()
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UsageError, match=r"spinecore-torch\[dicom\]"):
        require_highdicom()
