from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

from spinecore.io.errors import FilmError
from spinecore.io.films import read_film

HEIGHT, WIDTH = 400, 160


def bone_bright(top: int = 4095) -> NDArray[np.uint16]:
    x = np.abs(np.linspace(-1, 1, WIDTH))[None, :]
    y = np.linspace(0, 1, HEIGHT)[:, None]
    pixels = 0.1 + 0.4 * (x < 0.35) + 0.3 * y * (1 - x)
    return (pixels * top).astype(np.uint16)


def write(path: Path, stored: NDArray[Any] | None, syntax: str = ExplicitVRLittleEndian, **tags: Any) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Modality = "DX"
    data.PatientName = "Secret^Name"
    data.PatientID = "SECRET-ID"
    data.PatientBirthDate = "20010101"
    if stored is not None:
        data.Rows, data.Columns = stored.shape
        data.SamplesPerPixel = 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        data.PixelRepresentation = 0
        data.PixelData = stored.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def correlation(a: NDArray[np.float32], b: NDArray[Any]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel().astype(float))[0, 1])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_photometric_interpretation_ends_bone_bright(tmp_path: Path, photometric: str, syntax: str) -> None:
    bright = bone_bright()
    stored = bright if photometric == "MONOCHROME2" else (4095 - bright).astype(np.uint16)
    film = read_film(write(tmp_path / "a.dcm", stored, syntax, PhotometricInterpretation=photometric))
    assert correlation(film.pixels, bright) > 0.9999
    assert film.flags == ()


def test_no_extension_is_found_by_its_preamble(tmp_path: Path) -> None:
    film = read_film(write(tmp_path / "1.2.840.10008.1", bone_bright()))
    assert (film.height, film.width) == (HEIGHT, WIDTH)


def test_rescale_and_signed_pixels(tmp_path: Path) -> None:
    signed = (bone_bright().astype(np.int16) - 2000).astype(np.int16)
    path = write(
        tmp_path / "a.dcm",
        signed,
        PixelRepresentation=1,
        BitsStored=16,
        HighBit=15,
        RescaleSlope=2,
        RescaleIntercept=-7,
    )
    assert correlation(read_film(path).pixels, bone_bright()) > 0.9999


def test_negative_slope_is_undone_before_inversion(tmp_path: Path) -> None:
    dark = (4095 - bone_bright()).astype(np.uint16)
    path = write(tmp_path / "a.dcm", dark, RescaleSlope=-1, RescaleIntercept=4095)
    assert correlation(read_film(path).pixels, bone_bright()) > 0.9999


def test_modality_lut_sequence(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor = [4096, 0, 16]
    lut.ModalityLUTType = "US"
    lut.LUTData = (4095 - np.arange(4096)).astype(np.uint16).tobytes()
    dark = (4095 - bone_bright()).astype(np.uint16)
    path = write(tmp_path / "a.dcm", dark, ModalityLUTSequence=Sequence([lut]))
    assert correlation(read_film(path).pixels, bone_bright()) > 0.9999


def test_voi_lut_sequence(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor = [4096, 0, 16]
    lut.LUTData = (np.sqrt(np.arange(4096) / 4095) * 65535).astype(np.uint16).tobytes()
    path = write(tmp_path / "a.dcm", bone_bright(), VOILUTSequence=Sequence([lut]))
    film = read_film(path)
    expected = np.sqrt(bone_bright() / 4095)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert np.abs(film.pixels - expected).max() < 1e-3


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_window_clips_before_the_inversion(tmp_path: Path, photometric: str) -> None:
    bright = bone_bright()
    path = write(
        tmp_path / "a.dcm",
        bright,
        PhotometricInterpretation=photometric,
        WindowCenter=[1600, 9],
        WindowWidth=[1800, 9],
    )
    shown = np.clip((bright.astype(float) - 1600 + 0.5) / 1799 + 0.5, 0, 1)
    assert (shown == 0).any()
    assert (shown == 1).any()
    expected = 1 - shown if photometric == "MONOCHROME1" else shown
    assert np.abs(read_film(path).pixels - expected).max() < 2e-3


@pytest.mark.parametrize(
    ("center", "width"), [(600, 60), (2500, 2), ([600, 2047], [60, 4095]), ([-90000, 600], [10, 60])]
)
def test_a_window_that_leaves_nearly_nothing_is_left_out(tmp_path: Path, center: Any, width: Any) -> None:
    film = read_film(write(tmp_path / "a.dcm", bone_bright(), WindowCenter=center, WindowWidth=width))
    assert "window-cuts-film" in film.flags
    assert correlation(film.pixels, bone_bright()) > 0.999


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"Modality": "MR"}, "Modality is MR"),
        ({"Modality": "CT"}, "Modality is CT"),
        ({"ViewPosition": "LL"}, "ViewPosition LL"),
        ({"ViewPosition": "RL"}, "ViewPosition RL"),
        ({"PatientOrientation": ["A", "F"]}, "PatientOrientation A"),
        ({"PatientOrientation": ["P", "F"]}, "PatientOrientation P"),
    ],
)
def test_what_says_that_it_is_no_frontal_radiograph_is_refused(
    tmp_path: Path, tags: dict[str, Any], named: str
) -> None:
    with pytest.raises(FilmError, match=named):
        read_film(write(tmp_path / "a.dcm", bone_bright(), **tags))


@pytest.mark.parametrize(
    ("part", "flagged"), [("HAND", True), ("KNEE", True), ("TSPINE", False), ("", False)]
)
def test_another_part_of_the_body_is_flagged(tmp_path: Path, part: str, flagged: bool) -> None:
    film = read_film(write(tmp_path / "a.dcm", bone_bright(), BodyPartExamined=part))
    assert ("body-part-other" in film.flags) == flagged


@pytest.mark.parametrize(
    "tags",
    [
        {"Modality": "CR", "ViewPosition": "AP"},
        {"ViewPosition": "LLD", "PatientOrientation": ["L", "F"]},  # lying on the side, seen from the front
        {"PatientOrientation": ["R", "F"]},
        {"Modality": ""},
    ],
)
def test_frontal_films_are_read(tmp_path: Path, tags: dict[str, Any]) -> None:
    read_film(write(tmp_path / "a.dcm", bone_bright(), **tags))


@pytest.mark.parametrize(("center", "width"), [(-90000, 10), (5, 0)])
def test_a_window_that_shows_nothing_is_flagged_and_left_out(tmp_path: Path, center: int, width: int) -> None:
    film = read_film(write(tmp_path / "a.dcm", bone_bright(), WindowCenter=center, WindowWidth=width))
    assert "voi-unusable" in film.flags
    assert correlation(film.pixels, bone_bright()) > 0.999


@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")])
def test_wrong_presentation_lut_shape_is_flagged(tmp_path: Path, photometric: str, shape: str) -> None:
    path = write(
        tmp_path / "a.dcm", bone_bright(), PhotometricInterpretation=photometric, PresentationLUTShape=shape
    )
    film = read_film(path)
    assert "presentation-lut-conflict" in film.flags
    assert ("polarity-suspect" in film.flags) == (photometric == "MONOCHROME1")


def test_padding_outside_the_collimator_does_not_set_the_range(tmp_path: Path) -> None:
    stored = bone_bright(1500)
    stored[:, :12] = 4095
    plain = read_film(write(tmp_path / "a.dcm", stored, PixelPaddingValue=4095))
    assert plain.pixels[:, :12].max() == 0
    assert np.percentile(plain.pixels, 99) > 0.9


@pytest.mark.parametrize(
    ("tags", "millimetres", "source"),
    [
        ({}, None, "none"),
        ({"PixelSpacing": [0.2, 0.2]}, 0.2, "PixelSpacing (calibration not stated)"),
        (
            {
                "PixelSpacing": [0.13, 0.13],
                "ImagerPixelSpacing": [0.15, 0.15],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            0.13,
            "PixelSpacing (FIDUCIAL)",
        ),
        ({"ImagerPixelSpacing": [0.15, 0.15]}, None, "detector only"),
        ({"PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.15, 0.15]}, None, "detector only"),
        (
            {"ImagerPixelSpacing": [0.15, 0.15], "EstimatedRadiographicMagnificationFactor": 1.2},
            0.125,
            "ImagerPixelSpacing / magnification 1.2",
        ),
    ],
)
def test_millimetres_are_never_invented(
    tmp_path: Path, tags: dict[str, Any], millimetres: float | None, source: str
) -> None:
    film = read_film(write(tmp_path / "a.dcm", bone_bright(), **tags))
    assert film.spacing_mm == (None if millimetres is None else pytest.approx(millimetres))
    assert source in film.spacing_source


@pytest.mark.parametrize(
    ("tags", "aspect"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, 2.0),
        ({"PixelSpacing": [0.15, 0.3]}, 0.5),
        ({"ImagerPixelSpacing": [0.3, 0.2]}, 1.5),
        ({"NominalScannedPixelSpacing": [0.2, 0.1]}, 2.0),
        ({"PixelAspectRatio": [2, 1]}, 2.0),
        ({"PixelSpacing": [0.1, 0.1005]}, 1.0),
        ({"PixelSpacing": [0.1, 1e-9]}, 1.0),
    ],
)
def test_pixels_that_are_not_square_are_known_and_flagged(
    tmp_path: Path, tags: dict[str, Any], aspect: float
) -> None:
    film = read_film(write(tmp_path / "a.dcm", bone_bright(), **tags))
    assert film.pixel_aspect == pytest.approx(aspect)
    assert ("non-square-pixels" in film.flags) == (aspect != 1.0)


@pytest.mark.parametrize(
    ("orientation", "expected"), [(["L", "F"], "patient-left"), (["R", "F"], "patient-right"), (None, None)]
)
def test_sides_only_where_the_file_says_so(
    tmp_path: Path, orientation: list[str] | None, expected: str | None
) -> None:
    tags = {} if orientation is None else {"PatientOrientation": orientation, "ViewPosition": "AP"}
    film = read_film(write(tmp_path / "a.dcm", bone_bright(), **tags))
    assert film.image_right_is == expected
    assert film.view == (None if orientation is None else "AP")


def test_multi_frame_is_refused(tmp_path: Path) -> None:
    stored = np.concatenate([bone_bright(), bone_bright()])
    path = write(tmp_path / "a.dcm", stored, Rows=HEIGHT, NumberOfFrames=2)
    with pytest.raises(FilmError, match="2 frames"):
        read_film(path)


def test_object_without_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FilmError, match="no pixel data"):
        read_film(write(tmp_path / "a.dcm", None, Modality="SR"))


def test_colour_dicom_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FilmError, match="PALETTE COLOR"):
        read_film(write(tmp_path / "a.dcm", bone_bright(), PhotometricInterpretation="PALETTE COLOR"))


def test_rle_is_decoded(tmp_path: Path) -> None:
    data = pydicom.dcmread(write(tmp_path / "a.dcm", bone_bright()))
    data.compress(RLELossless)
    data.save_as(tmp_path / "rle.dcm")
    assert correlation(read_film(tmp_path / "rle.dcm").pixels, bone_bright()) > 0.9999


def test_undecodable_transfer_syntax_names_itself_and_the_extra(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate

    path = write(tmp_path / "a.dcm", bone_bright())
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data.PixelData = encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 200])
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    with pytest.raises(
        FilmError, match=r"JPEG 2000.*1\.2\.840\.10008\.1\.2\.4\.90.*spinecore-torch\[dicom\]"
    ):
        read_film(path)


@pytest.mark.parametrize("length", [100, 131, 200, 700, 60_000])
def test_truncated_file_gives_a_reason(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "a.dcm", bone_bright())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FilmError):
        read_film(path)


def test_text_named_dcm(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("no film at all" * 30)
    with pytest.raises(FilmError, match="not a DICOM"):
        read_film(tmp_path / "a.dcm")


@pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", ["", "nan", "1e400"])
def test_a_rescale_that_is_no_finite_number_is_refused_by_name(tmp_path: Path, tag: str, value: str) -> None:
    rescale: dict[str, Any] = {"RescaleSlope": "1", "RescaleIntercept": "0", tag: value}
    with pytest.raises(FilmError, match=f"{tag} is .*not a finite number"):
        read_film(write(tmp_path / "a.dcm", bone_bright(), **rescale))


@pytest.mark.parametrize(
    ("center", "width", "flagged"), [("nan", "100", True), ("", "100", False), ("2000", "", False)]
)
def test_a_broken_window_is_flagged_an_empty_one_is_none_and_the_film_is_kept(
    tmp_path: Path, center: str, width: str, flagged: bool
) -> None:
    path = write(tmp_path / "a.dcm", bone_bright(), WindowCenter=center, WindowWidth=width)
    film = read_film(path)
    assert ("voi-unusable" in film.flags) == flagged
    assert np.isfinite(film.pixels).all()
    assert correlation(film.pixels, bone_bright()) > 0.99


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(128, 1500), value=st.integers(0, 255))
def test_a_flipped_header_byte_never_raises_anything_but_a_film_error(
    tmp_path: Path, position: int, value: int
) -> None:
    tags = {"RescaleSlope": "1.5", "RescaleIntercept": "-3", "WindowCenter": "2000", "WindowWidth": "3000"}
    path = write(tmp_path / "a.dcm", bone_bright(), **tags)
    data = bytearray(path.read_bytes())
    data[position % (len(data) - bone_bright().nbytes)] = value
    path.write_bytes(data)
    with contextlib.suppress(FilmError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns about the damage it survives
        film = read_film(path)
        assert np.isfinite(film.pixels).all()
        assert 0 <= film.pixels.min() <= film.pixels.max() <= 1
