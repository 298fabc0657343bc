from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spinecore.io.errors import FilmError, UsageError
from spinecore.io.find import FilmSource
from spinecore.io.masks import mask_file, read_mask, require_mask_folder, write_mask


def blob() -> np.ndarray:
    mask = np.zeros((90, 70), dtype=bool)
    mask[10:80, 30:45] = True
    return mask


def test_round_trip_is_0_and_255_of_the_films_size(tmp_path: Path) -> None:
    write_mask(tmp_path / "deep" / "a.png", blob())
    with Image.open(tmp_path / "deep" / "a.png") as image:
        assert image.mode == "L"
        assert sorted(set(np.asarray(image).ravel().tolist())) == [0, 255]
    assert np.array_equal(read_mask(tmp_path / "deep" / "a.png"), blob())


@pytest.mark.parametrize("scale", [1, 255])
def test_masks_of_ones_and_of_255(tmp_path: Path, scale: int) -> None:
    Image.fromarray((blob() * scale).astype(np.uint8)).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), blob())


def test_one_bit_mask(tmp_path: Path) -> None:
    Image.fromarray(blob()).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), blob())


def test_colour_and_broken_masks_are_refused(tmp_path: Path) -> None:
    red = np.stack([blob() * 255, blob() * 0, blob() * 0], axis=2).astype(np.uint8)
    Image.fromarray(red).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no mask")
    for name in ("a.png", "b.png"):
        with pytest.raises(FilmError, match=name):
            read_mask(tmp_path / name)


def test_grey_mask_in_a_colour_file(tmp_path: Path) -> None:
    Image.fromarray(np.stack([blob() * 255] * 3, axis=2).astype(np.uint8)).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), blob())


@pytest.mark.parametrize("name", ["s/a.png", "s/a.jpg.png", "a.png", "s/a.tif"])
def test_mask_of_a_film_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write_mask(tmp_path / name, blob())
    assert mask_file(tmp_path, FilmSource(Path("a.jpg"), "s/a.jpg", "s/a")) == tmp_path / name


def test_missing_mask_names_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FilmError, match=r"no mask s/a\.png"):
        mask_file(tmp_path, FilmSource(Path("a.jpg"), "s/a.jpg", "s/a"))


def test_mask_folder_must_hold_masks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no mask"):
        require_mask_folder(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        require_mask_folder(tmp_path / "gone")
