from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from spinecore.io.errors import FilmError
from spinecore.io.films import read_film


def film_pixels(height: int = 400, width: int = 160) -> NDArray[np.float32]:
    """A bright column between darker sides, brighter downwards, with one bright mark at the upper left."""
    x = np.abs(np.linspace(-1, 1, width))[None, :]
    y = np.linspace(0, 1, height)[:, None]
    pixels = 0.15 + 0.35 * (x < 0.35) + 0.3 * y * (1 - x)
    pixels[10:30, 5:15] = 0.95
    return pixels.astype(np.float32)


def deep(pixels: NDArray[np.float32], top: int = 65535) -> NDArray[np.uint16]:
    return (pixels * top + 0.5).astype(np.uint16)


def shallow(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (pixels * 255 + 0.5).astype(np.uint8)


def same_order(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".tif", ".tiff"])
def test_8_bit_grey_is_read_in_its_own_scale(tmp_path: Path, suffix: str) -> None:
    pixels = film_pixels()
    Image.fromarray(shallow(pixels)).save(tmp_path / f"a{suffix}", quality=95)
    film = read_film(tmp_path / f"a{suffix}")
    assert (film.width, film.height) == (160, 400)
    assert film.pixels.dtype == np.float32
    assert np.abs(film.pixels - pixels).mean() < 0.01
    assert film.flags == ()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("top", [65535, 4095, 1023])
def test_16_bit_uses_the_whole_range_whatever_its_depth(tmp_path: Path, suffix: str, top: int) -> None:
    pixels = film_pixels()
    Image.fromarray(deep(pixels, top)).save(tmp_path / f"a{suffix}")
    film = read_film(tmp_path / f"a{suffix}")
    assert (film.pixels.min(), film.pixels.max()) == (0, 1)
    assert same_order(film.pixels, pixels) > 0.999


def test_float_tiff(tmp_path: Path) -> None:
    pixels = film_pixels()
    Image.fromarray(pixels * 3000 - 500).save(tmp_path / "a.tif")
    assert same_order(read_film(tmp_path / "a.tif").pixels, pixels) > 0.999


def test_float_tiff_with_nan_is_refused(tmp_path: Path) -> None:
    pixels = film_pixels()
    pixels[3, 3] = np.nan
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(FilmError, match="NaN"):
        read_film(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [8, 16])
def test_white_is_zero_tiff_is_bone_bright(tmp_path: Path, bits: int) -> None:
    pixels = film_pixels()
    stored = 255 - shallow(pixels) if bits == 8 else 65535 - deep(pixels)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    film = read_film(tmp_path / "a.tif")
    assert same_order(film.pixels, pixels) > 0.999
    assert film.flags == ()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "CMYK"])
def test_grey_film_in_a_colour_file(tmp_path: Path, mode: str) -> None:
    pixels = film_pixels()
    suffix = ".tif" if mode == "CMYK" else ".png"
    Image.fromarray(shallow(pixels)).convert("RGB" if mode == "CMYK" else "L").convert(mode).save(
        tmp_path / f"a{suffix}"
    )
    film = read_film(tmp_path / f"a{suffix}")
    assert np.abs(film.pixels - pixels).mean() < 0.03
    assert film.flags == ()


def test_colour_photograph_is_flagged(tmp_path: Path) -> None:
    grey = shallow(film_pixels())
    tinted = np.stack([grey, grey // 2, 255 - grey], axis=2)
    Image.fromarray(tinted).save(tmp_path / "a.png")
    assert "colour-image" in read_film(tmp_path / "a.png").flags


def test_transparency_is_flagged(tmp_path: Path) -> None:
    grey = shallow(film_pixels())
    alpha = np.full_like(grey, 255)
    alpha[:50] = 0
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).save(tmp_path / "a.png")
    assert "transparency-ignored" in read_film(tmp_path / "a.png").flags


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_unequal_resolutions_are_flagged(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(shallow(film_pixels()))
    for dpi, flags in (((300, 150), ("resolution-uneven",)), ((300, 301), ()), ((72, 72), ())):
        image.save(tmp_path / f"a{suffix}", dpi=dpi)
        film = read_film(tmp_path / f"a{suffix}")
        assert film.flags == flags
        assert film.pixels.shape == film_pixels().shape


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_undone_and_flagged(tmp_path: Path, orientation: int) -> None:
    upright = shallow(film_pixels())
    transposed = {
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.T,
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, 3),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(np.ascontiguousarray(transposed)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    film = read_film(tmp_path / "a.jpg")
    assert film.flags == ("exif-rotated",)
    assert same_order(film.pixels, film_pixels()) > 0.99


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_inverted_film_is_flagged(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(255 - shallow(film_pixels())).save(tmp_path / f"a{suffix}")
    assert "polarity-suspect" in read_film(tmp_path / f"a{suffix}").flags


@pytest.mark.parametrize(
    ("size", "flag"),
    [((100, 200), "small-image"), ((900, 800), "aspect-unusual"), ((80, 900), "aspect-unusual")],
)
def test_odd_sizes_are_flagged(tmp_path: Path, size: tuple[int, int], flag: str) -> None:
    Image.fromarray(shallow(film_pixels(size[1], size[0]))).save(tmp_path / "a.png")
    assert flag in read_film(tmp_path / "a.png").flags


def test_low_contrast_is_flagged(tmp_path: Path) -> None:
    Image.fromarray((shallow(film_pixels()) // 12 + 100).astype(np.uint8)).save(tmp_path / "a.png")
    assert "low-contrast" in read_film(tmp_path / "a.png").flags


@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_film_is_refused(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((400, 160), value, dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(FilmError, match="blank"):
        read_film(tmp_path / "a.png")


@pytest.mark.parametrize("shape", [(400, 160), (900, 900), (80, 64), (400, 160, 3)])
def test_noise_is_refused_and_a_noisy_film_is_not(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(FilmError, match="noise"):
        read_film(tmp_path / "a.png")
    noisy = film_pixels(shape[0], shape[1]) + rng.normal(0, 0.15, shape[:2])
    Image.fromarray(shallow(np.clip(noisy, 0, 1).astype(np.float32))).save(tmp_path / "b.png")
    read_film(tmp_path / "b.png")


def test_tiny_image_is_refused_with_its_size(tmp_path: Path) -> None:
    Image.fromarray(shallow(film_pixels(63, 200))).save(tmp_path / "a.png")
    with pytest.raises(FilmError, match="200 x 63"):
        read_film(tmp_path / "a.png")


def test_several_pages_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(shallow(film_pixels()))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
    with pytest.raises(FilmError, match="3 pages"):
        read_film(tmp_path / "a.tif")


def test_one_bit_image_is_refused(tmp_path: Path) -> None:
    Image.fromarray(film_pixels() > 0.4).save(tmp_path / "a.png")
    with pytest.raises(FilmError, match="--masks"):
        read_film(tmp_path / "a.png")


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(FilmError, match="0 bytes"):
        read_film(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_text_named_like_an_image(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_text("this is no film, " * 40)
    with pytest.raises(FilmError, match=r"not a PNG, JPEG, TIFF, .* or DICOM"):
        read_film(tmp_path / f"a{suffix}")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FilmError, match="No such file"):
        read_film(tmp_path / "gone.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated_file_gives_a_reason(tmp_path: Path, suffix: str, share: float) -> None:
    rng = np.random.default_rng(0)
    noisy = shallow(np.clip(film_pixels() + rng.normal(0, 0.05, (400, 160)), 0, 1).astype(np.float32))
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noisy).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FilmError):
        read_film(path)


@settings(max_examples=60, deadline=None)
@given(
    position=st.integers(0, 10_000), value=st.integers(0, 255), kind=st.sampled_from(["PNG", "JPEG", "TIFF"])
)
def test_a_flipped_byte_never_raises_anything_but_a_film_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, kind: str
) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.png"
    Image.fromarray(shallow(film_pixels(120, 100))).save(path, format=kind)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(bytes(data))
    with contextlib.suppress(FilmError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about the damage it survives
        film = read_film(path)
        assert film.pixels.ndim == 2
        assert 0 <= film.pixels.min() <= film.pixels.max() <= 1
