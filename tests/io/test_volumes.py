"""Volumes in any geometry: nibabel and pydicom write them, nobody here."""

from __future__ import annotations

import itertools
import struct
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import ExifTags, Image

from spinecore.io.errors import FilmError, UsageError
from spinecore.io.volume import find_volumes, read_volume, write_mask_volume

RIGHT, BACK, DOWN = 40, 44, 52  # voxels along each of the patient's axes


def scene() -> np.ndarray:
    """(right to left, front to back, head to feet): the head is bright, the front brighter than the back."""
    values = np.zeros((RIGHT, BACK, DOWN), np.float32)
    values += np.linspace(100, 0, DOWN)
    values += np.linspace(20, 0, BACK)[:, None]
    values += np.linspace(0, 4, RIGHT)[:, None, None]
    return values


def rotation(degrees: float) -> np.ndarray:
    a, b = np.radians(degrees), np.radians(degrees / 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_x @ about_z


def stored(order: tuple[int, ...], flips: tuple[bool, ...], degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The scene with its axes in another order and direction, and the RAS affine that says so."""
    step = np.diag([3.0, 0.6, 0.7])
    # Voxel axes of the scene: patient's right to left is RAS -> -x ... x grows to the right.
    axes = rotation(degrees) @ np.diag([-1.0, -1.0, -1.0]) @ step
    affine = np.eye(4)
    affine[:3, :3] = axes[:, order]
    affine[:3, 3] = [10.0, -20.0, 30.0]
    values = scene().transpose(order)
    for axis, flip in enumerate(flips):
        if flip:
            values = np.flip(values, axis)
            affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            affine[:3, axis] *= -1
    return np.ascontiguousarray(values), affine


GEOMETRIES = [
    (order, flips, degrees)
    for n, (order, flips) in enumerate(
        itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3))
    )
    for degrees in ((0.0, 17.0)[n % 2],)
]


@pytest.mark.parametrize(("order", "flips", "degrees"), GEOMETRIES)
def test_every_orientation_is_read_upright_and_written_back_voxel_by_voxel(
    order: tuple[int, ...], flips: tuple[bool, ...], degrees: float, tmp_path: Path
) -> None:
    values, affine = stored(order, flips, degrees)
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    volume = read_volume(path)
    assert volume.pixels.shape == (RIGHT, DOWN, BACK)
    assert volume.spacing == pytest.approx((3.0, 0.7, 0.6), abs=1e-4)
    # Slice by slice from the right, head up, front to the left: as the scene was made.
    assert np.array_equal(volume.pixels, scene().transpose(0, 2, 1))
    mask = (volume.pixels > 61).astype(np.uint8) * 2
    write_mask_volume(tmp_path / "out" / "mask.nii.gz", mask, volume)
    back = nibabel.load(tmp_path / "out" / "mask.nii.gz")
    assert np.array_equal(np.asarray(back.dataobj), (values > 61) * 2)
    assert np.allclose(back.affine, affine, atol=1e-4)


def test_mha_is_read_and_its_mask_has_its_geometry(tmp_path: Path) -> None:
    values, affine = stored((1, 2, 0), (False, True, False), 11.0)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "a.nii")
    image = SimpleITK.ReadImage(str(tmp_path / "a.nii"))
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"))
    volume = read_volume(tmp_path / "a.mha")
    assert np.array_equal(volume.pixels, scene().transpose(0, 2, 1))
    write_mask_volume(tmp_path / "m.nii.gz", (volume.pixels > 50).astype(np.uint8), volume)
    assert np.allclose(nibabel.load(tmp_path / "m.nii.gz").affine, affine, atol=1e-4)


def test_a_dicom_series_is_read_in_the_order_of_its_places(tmp_path: Path, write_series: Any) -> None:
    planes = scene().transpose(0, 2, 1)[:8]
    write_series(tmp_path / "study" / "t2", np.round(planes * 10))
    sources = find_volumes([tmp_path])
    assert [(source.name, source.path) for source in sources] == [("study/t2", tmp_path / "study" / "t2")]
    for file in sources[0].path.iterdir():  # as an archive exports them
        file.rename(file.with_name(f"1.2.840.{file.stem}"))
    assert find_volumes([tmp_path]) == sources
    contents = next(sources[0].path.iterdir()).read_bytes()
    (tmp_path / "DICOMDIR").write_bytes(contents)  # a disc's table of contents has a preamble too
    assert find_volumes([tmp_path]) == sources
    volume = read_volume(sources[0].path)
    assert volume.spacing == pytest.approx((4.0, 0.7, 0.6))
    expected = np.round(planes * 10)
    assert np.array_equal(volume.pixels, expected) or np.array_equal(volume.pixels, expected[::-1])
    write_mask_volume(tmp_path / "mask.nii.gz", (volume.pixels > 300).astype(np.uint8), volume)
    back = SimpleITK.ReadImage(str(tmp_path / "mask.nii.gz"))
    assert back.GetSpacing() == pytest.approx((0.6, 0.7, 4.0), abs=1e-4)
    assert np.allclose(back.GetDirection(), volume.origin.GetDirection(), atol=1e-5)
    assert np.array_equal(SimpleITK.GetArrayFromImage(back), SimpleITK.GetArrayFromImage(volume.origin) > 300)


def test_two_series_in_one_folder_are_an_error(tmp_path: Path, write_series: Any) -> None:
    planes = scene().transpose(0, 2, 1)[:2]
    write_series(tmp_path / "s", np.round(planes * 10))
    for file in (tmp_path / "s").iterdir():
        file.rename(file.with_name(f"first{file.name}"))
    write_series(tmp_path / "s", np.round(planes * 10))
    with pytest.raises(FilmError, match="2 DICOM series"):
        read_volume(tmp_path / "s")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.png", "a.tif"])
def test_a_damaged_file_says_what_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no image at all" * 40)
    with pytest.raises(FilmError, match="not a readable"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
def test_a_file_cut_short_is_an_error(name: str, tmp_path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(scene()), str(tmp_path / name))
    read_volume(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FilmError, match="not a readable volume"):
        read_volume(tmp_path / name)


def test_values_that_are_no_image_are_errors(tmp_path: Path) -> None:
    for name, values, reason in (
        ("flat.nii", np.full((40, 40, 40), 7, np.float32), "blank"),
        ("small.nii", scene()[:, :20, :20], "at least 32"),
    ):
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name)
        with pytest.raises(FilmError, match=reason):
            read_volume(tmp_path / name)


def test_a_picture_that_holds_nan_is_an_error(tmp_path: Path) -> None:
    values = np.full((40, 40), np.nan, np.float32)
    Image.fromarray(values).save(tmp_path / "nan.tif")
    with pytest.raises(FilmError, match="no numbers"):
        read_volume(tmp_path / "nan.tif")


def test_without_simpleitk_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(FilmError, match=r"spinecore-torch\[mri\]"):
        read_volume(tmp_path / "a.nii")


def test_deep_and_coloured_pictures_are_read(tmp_path: Path) -> None:
    deep = (np.arange(48 * 40).reshape(48, 40) * 30).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_volume(tmp_path / "deep.png").pixels[0], deep)
    grey = (np.arange(48 * 40).reshape(48, 40) % 251).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "rgb.png")
    assert np.array_equal(read_volume(tmp_path / "rgb.png").pixels[0], grey)


def test_pictures_are_read_as_viewers_show_them(tmp_path: Path) -> None:
    deep = (np.arange(48 * 40).reshape(48, 40) * 30).astype(">u2")
    ifd = [
        (256, 40),
        (257, 48),
        (258, 16),
        (259, 1),
        (262, 1),
        (273, 146),
        (277, 1),
        (278, 48),
        (279, 2 * deep.size),
    ]
    tags = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in ifd)
    head = b"MM" + struct.pack(">HIH", 42, 8, len(ifd)) + tags + struct.pack(">I", 0)
    (tmp_path / "big.tif").write_bytes(head.ljust(146, b"\0") + deep.tobytes())
    assert np.array_equal(read_volume(tmp_path / "big.tif").pixels[0], deep)
    grey = Image.fromarray((np.arange(48 * 40).reshape(48, 40) % 251).astype(np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    grey.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    assert np.array_equal(read_volume(tmp_path / "lying.png").pixels[0], np.asarray(grey))
    grey.save(tmp_path / "two.tif", save_all=True, append_images=[grey])
    with pytest.raises(FilmError, match="holds 2 pictures"):
        read_volume(tmp_path / "two.tif")


def test_results_of_an_earlier_run_are_no_scans(tmp_path: Path) -> None:
    for name in ("a.png", "out/masks/a.png", "out/overlays/a.png", "out/b.png", "masks/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "out" / "run.json").write_text('{"schema": "spinecore.run/1"}')
    assert [source.name for source in find_volumes([tmp_path])] == ["a.png", "masks/c.png", "out/b.png"]
    assert [source.name for source in find_volumes([tmp_path / "out" / "masks"])] == ["a.png"]


def test_scans_are_found_once_and_named_apart(tmp_path: Path) -> None:
    for name in ("b.png", "sub/b.png", "b.nii.gz", "c.mha", ".hidden.png", "out/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    sources = find_volumes([tmp_path, tmp_path / "b.png"], exclude=tmp_path / "out")
    assert [source.name for source in sources] == ["b.nii.gz", "b.png", "c.mha", "sub/b.png"]
    assert len({source.stem for source in sources}) == 4
    both = find_volumes([tmp_path / "sub", tmp_path / "out"])
    assert [(source.name, source.stem) for source in both] == [("out/d.png", "out/d"), ("sub/b.png", "sub/b")]
    for site in ("one", "two"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "b.png").write_bytes(b"x")
    both = find_volumes([tmp_path / "one", tmp_path / "two", tmp_path / "two" / ".." / "one"])
    assert [source.stem for source in both] == ["one/b", "two/b"]
    with pytest.raises(UsageError, match="no such file"):
        find_volumes([tmp_path / "absent"])
