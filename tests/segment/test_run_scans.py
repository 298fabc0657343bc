"""The folder run with a reader that knows the phantoms: everything but the network is exact."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spinecore.io.errors import UsageError
from spinecore.io.volume import find_volumes
from spinecore.report.lumbar_overlay import spread, write_lumbar_overlay
from spinecore.report.lumbar_page import write_lumbar_page
from spinecore.segment.layout import load_result
from spinecore.segment.reference import Reference, agreement, read_reference
from spinecore.segment.result import ScanResult, from_json, to_json
from spinecore.segment.run import ScanReader, ScanSummary, run_scans
from spinecore.spine.lumbar.column import CANAL, DISCS
from spinecore.spine.phantom.lumbar import LumbarPhantom, lumbar_phantom

HEIGHT, WIDTH = 320, 256


class KnownSlices:
    """Finds a slice by its size and mean among those that it was told."""

    def __init__(self) -> None:
        self.known: list[tuple[NDArray[np.float32], NDArray[np.uint8]]] = []
        self.calls = 0

    def add(self, phantom: LumbarPhantom) -> NDArray[np.uint8]:
        pixels = (phantom.pixels * 255 + 0.5).astype(np.uint8)
        self.known.append((pixels.astype(np.float32), phantom.mask))
        return pixels

    def probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        if not self.known:
            return np.eye(4, dtype=np.float32)[np.zeros(pixels.shape, int)].transpose(2, 0, 1)
        mask = min(self.known, key=lambda known: abs(float(known[0].mean() - pixels.mean())))[1]
        if mask.shape != pixels.shape:
            mask = np.asarray(Image.fromarray(mask).resize(pixels.shape[::-1], Image.Resampling.NEAREST))
        one_hot = np.eye(4, dtype=np.float32)[mask]
        return (0.1 / 4 + 0.9 * one_hot).transpose(2, 0, 1)


@pytest.fixture
def reader() -> KnownSlices:
    return KnownSlices()


def picture(folder: Path, name: str, seed: int, reader: KnownSlices) -> LumbarPhantom:
    phantom = lumbar_phantom(seed, HEIGHT, WIDTH, vertebrae=7)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(reader.add(phantom)).save(path)
    return phantom


def segment(
    folder: Path, reader: KnownSlices, *, resume: bool = False, reference: Path | None = None, key: str = "w1"
) -> ScanSummary:
    sources = find_volumes([folder])
    compared = None if reference is None else Reference(reference, sources)
    return run_scans(
        sources,
        ScanReader(reader, key, compared),
        folder.parent / "out",
        resume=resume,
        draw=write_lumbar_overlay,
    )


def rows(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_pictures_to_masks_levels_tables_and_page(tmp_path: Path, reader: KnownSlices) -> None:
    phantom = picture(tmp_path / "in", "a.png", 1, reader)
    other = picture(tmp_path / "in", "sub/a.png", 2, reader)
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    summary = segment(tmp_path / "in", reader)
    out = summary.out
    assert (summary.segmented, summary.failed, summary.exit_code) == (2, 1, 3)
    mask = Image.open(out / "masks" / "a.png")
    assert np.array_equal(np.asarray(mask), phantom.mask)
    assert np.array_equal(np.asarray(Image.open(out / "masks" / "sub" / "a.png")), other.mask)
    numbers = np.asarray(Image.open(out / "levels" / "a.png"))
    middle = phantom.bodies["L3"].mean(axis=0)
    assert numbers[int(middle[1]), int(middle[0])] == 3
    middle = phantom.discs["L4/L5"].mean(axis=0)
    assert numbers[int(middle[1]), int(middle[0])] == 202
    assert np.array_equal(numbers == 100, phantom.mask == CANAL)
    assert np.array_equal((numbers >= 201) & (numbers <= 225), phantom.mask == DISCS)
    discs = [row for row in rows(out, "discs.csv") if row["scan"] == "a.png"]
    assert [row["level"] for row in discs] == list(phantom.discs)
    assert {row["unit"] for row in discs} == {"px"}
    assert [row["number_from_below"] for row in discs] == [str(n) for n in range(len(discs), 0, -1)]
    scans = {row["scan"]: row for row in rows(out, "scans.csv")}
    assert scans["a.png"]["levels"] == "T11-L5"
    assert scans["broken.png"]["status"] == "failed"
    assert "not a readable picture" in scans["broken.png"]["reason"]
    assert scans["broken.png"]["height"] == ""
    write_lumbar_page(out, summary.results, {"subtitle": "two", "footer": "f"})
    page = (out / "index.html").read_text()
    assert "T11 to L5" in page
    assert "broken.png" in page
    assert "http" not in page.replace("http-equiv", "")


def test_resume_keeps_what_the_same_network_gave_of_the_same_file(
    tmp_path: Path, reader: KnownSlices
) -> None:
    folder = tmp_path / "in"
    picture(folder, "a.png", 1, reader)
    picture(folder, "b.png", 2, reader)
    segment(folder, reader)
    reader.calls = 0
    assert segment(folder, reader, resume=True).reused == 2
    assert reader.calls == 0
    (tmp_path / "out" / "masks" / "a.png").unlink()
    assert segment(folder, reader, resume=True).reused == 1
    assert segment(folder, reader, resume=True, key="w2").reused == 0
    picture(folder, "b.png", 3, reader)
    assert segment(folder, reader, resume=True, key="w2").reused == 1
    (folder / "a.png").unlink()
    summary = segment(folder, reader)
    assert summary.removed == 1
    assert not (tmp_path / "out" / "masks" / "a.png").exists()
    assert [row["scan"] for row in rows(tmp_path / "out", "scans.csv")] == ["b.png"]


def test_an_interrupted_run_keeps_what_is_done(tmp_path: Path, reader: KnownSlices) -> None:
    folder = tmp_path / "in"
    for n, name in enumerate(("a.png", "b.png", "c.png")):
        picture(folder, name, n, reader)

    def stop(result: ScanResult, _reused: bool) -> None:
        if result.scan == "b.png":
            raise KeyboardInterrupt

    summary = run_scans(find_volumes([folder]), ScanReader(reader, "w"), tmp_path / "out", on_scan=stop)
    assert summary.exit_code == 130
    assert [row["scan"] for row in rows(summary.out, "scans.csv")] == ["a.png", "b.png"]
    assert segment(folder, reader, resume=True, key="w").segmented == 3


def test_an_oblique_volume_gets_masks_in_its_geometry_and_millimetres(
    tmp_path: Path, reader: KnownSlices
) -> None:
    """Slices of 0.94 mm pixels, which the network sees at 0.47 mm."""
    lateral = (1.4, 0.8, 0.0, 0.8, 1.4)
    phantoms = [lumbar_phantom(3, HEIGHT, WIDTH, vertebrae=7, lateral=value) for value in lateral]
    slices = np.stack([reader.add(phantom) for phantom in phantoms])
    a = np.radians(8.0)
    oblique = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = oblique @ np.diag([-4.0, -0.94, -0.94])
    affine[:3, 3] = [8.0, 100.0, 150.0]
    (tmp_path / "in").mkdir()
    stored = slices.transpose(0, 2, 1)
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "in" / "scan.nii.gz")
    summary = segment(tmp_path / "in", reader)
    assert summary.failed == 0, next(iter(summary.results())).reason
    result = load_result(summary.out, "scan")
    assert result is not None
    assert result.measured_slice == 2
    assert result.spacing == pytest.approx((4.0, 0.94, 0.94), abs=1e-4)
    assert [disc.level for disc in result.discs] == list(phantoms[2].discs)
    for disc in result.discs:
        corners = phantoms[2].discs[disc.level]
        assert disc.length == pytest.approx(0.94 * float(np.hypot(*(corners[1] - corners[0]))), abs=1.9)
        assert disc.canal == pytest.approx(0.94 * phantoms[2].canal_width, abs=1.9)
    mask = nibabel.load(summary.out / "masks" / "scan.nii.gz")
    assert np.allclose(mask.affine, affine, atol=1e-4)
    truth = np.stack([phantom.mask for phantom in phantoms]).transpose(0, 2, 1)
    agree = (np.asarray(mask.dataobj) == truth).mean()
    assert agree > 0.99
    numbers = np.asarray(nibabel.load(summary.out / "levels" / "scan.nii.gz").dataobj)
    x, y = phantoms[2].bodies["L2"].mean(axis=0)
    assert (numbers[:, int(x), int(y)] == 4).all()


def test_a_volume_that_is_not_sagittal_or_of_no_spine_is_an_error(
    tmp_path: Path, reader: KnownSlices
) -> None:
    (tmp_path / "in").mkdir()
    values = np.random.default_rng(0).normal(size=(64, 64, 40)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([0.6, 0.6, 4.0, 1])), tmp_path / "in" / "axial.nii")
    Image.fromarray((values[:, :, 0] * 40 + 128).clip(0, 255).astype(np.uint8)).save(
        tmp_path / "in" / "x.png"
    )
    nibabel.save(nibabel.Nifti1Image(values, np.diag([4.0, 90.0, 90.0, 1])), tmp_path / "in" / "huge.nii")
    reasons = {result.scan: result.reason for result in segment(tmp_path / "in", reader).results()}
    assert "not acquired sagittally" in reasons["axial.nii"]
    assert "no spine was found" in reasons["x.png"]
    assert "check the spacing" in reasons["huge.nii"]


def test_reference_masks_are_compared_by_name(tmp_path: Path, reader: KnownSlices) -> None:
    folder, truth = tmp_path / "in", tmp_path / "truth"
    truth.mkdir()
    phantom = picture(folder, "a.png", 1, reader)
    picture(folder, "b.png", 2, reader)
    picture(folder, "c.png", 3, reader)
    Image.fromarray(np.array([0, 76, 29, 150], np.uint8)[phantom.mask]).save(truth / "a.png")
    without = phantom.mask.copy()
    without[without == CANAL] = 0
    Image.fromarray(without).save(truth / "b.png")
    summary = segment(folder, reader, reference=truth)
    found = {result.scan: result.agreement for result in summary.results()}
    assert found["a.png"]["dice_discs"] == 1.0
    assert found["a.png"]["hd95_vertebrae"] == 0.0
    assert found["b.png"]["dice_canal"] == 0.0
    assert found["b.png"]["hd95_canal"] == pytest.approx(np.hypot(HEIGHT, WIDTH), abs=1e-3)
    assert found["c.png"] == {}
    table = {row["scan"]: row for row in rows(summary.out, "agreement.csv")}
    assert sorted(table) == ["a.png", "b.png"]
    assert (table["a.png"]["dice_discs"], table["b.png"]["dice_canal"]) == ("1", "0")
    assert (table["a.png"]["missed_canal"], table["b.png"]["missed_canal"]) == ("0", "1")
    segment(folder, reader)
    assert not (summary.out / "agreement.csv").exists()
    means = agreement(found.values())
    assert means["scans"] == 2
    assert means["dice_canal"] == 0.5
    assert means["missed_canal"] == 1
    Image.fromarray(np.full((HEIGHT, WIDTH), 77, np.uint8)).save(truth / "c.png")
    with pytest.raises(ValueError, match="holds values"):
        read_reference(truth / "c.png")
    kept = {result.scan: result for result in segment(folder, reader, reference=truth).results()}["c.png"]
    assert (kept.status, kept.flags[-1], kept.agreement) == ("segmented", "no-agreement", {})
    assert "holds values" in kept.reason
    picture(tmp_path / "other", "d.png", 4, reader)
    apart = Reference(truth, find_volumes([folder, tmp_path / "other"]))
    assert [bool(apart.fingerprint(source)) for source in find_volumes([folder])] == [True, True, True]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no mask"):
        Reference(tmp_path / "empty", find_volumes([folder]))


def test_a_record_is_the_same_after_json_and_cannot_remove_files_elsewhere(
    tmp_path: Path, reader: KnownSlices
) -> None:
    picture(tmp_path / "in", "a.png", 1, reader)
    summary = segment(tmp_path / "in", reader)
    result = load_result(summary.out, "a")
    assert result is not None
    assert from_json(json.loads(json.dumps(to_json(result)))) == result
    victim = tmp_path / "victim.txt"
    victim.write_text("keep")
    record = to_json(result)
    record["outputs"] = {**result.outputs, "mask": "../victim.txt"}
    (summary.out / "json" / "a.json").write_text(json.dumps(record))
    segment(tmp_path / "in", reader)
    assert victim.read_text() == "keep"


def test_lines_of_the_panel_stay_apart_and_inside() -> None:
    assert spread([10.0, 12.0, 200.0], 40.0, 24.0, 300.0) == [24.0, 64.0, 200.0]
    crowded = spread([290.0, 295.0, 299.0], 40.0, 24.0, 300.0)
    assert crowded == [220.0, 260.0, 300.0]
    assert spread([], 40.0, 24.0, 300.0) == []
