from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spinecore.io.errors import FilmError, UsageError
from spinecore.io.find import FilmSource, film_stem, find_films
from spinecore.io.masks import MaskFolder, read_mask, require_mask_folder, write_mask


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


def source(film: str) -> FilmSource:
    return FilmSource(Path(film), film, film_stem(film))


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
    film = source("s/a.jpg")
    assert MaskFolder(tmp_path, [film]).find(film) == tmp_path / name


def test_missing_mask_names_what_was_looked_for(tmp_path: Path) -> None:
    write_mask(tmp_path / "b.png", blob())
    with pytest.raises(FilmError, match=r"no mask s/a\.png"):
        MaskFolder(tmp_path, [source("s/a.jpg")]).find(source("s/a.jpg"))


def test_a_mask_that_could_be_of_two_films_serves_neither(tmp_path: Path) -> None:
    """Films of two patients often have the same name: neither may get the other's mask."""
    write_mask(tmp_path / "film.png", blob())
    run = [source("a/film.png"), source("b/film.png")]
    for film, other in (run, run[::-1]):
        with pytest.raises(
            FilmError, match=rf"film\.png could be that of {film.film} or {other.film}; .*/{film.stem}\.png"
        ):
            MaskFolder(tmp_path, run).find(film)
    write_mask(tmp_path / "b" / "film.png", blob())
    assert MaskFolder(tmp_path, run).find(run[1]) == tmp_path / "b" / "film.png"
    assert MaskFolder(tmp_path, run).find(run[0]) == tmp_path / "film.png"


def test_a_mask_of_exactly_that_path_stays_with_its_film(tmp_path: Path) -> None:
    write_mask(tmp_path / "film.png", blob())
    run = [source("film.png"), source("sub/film.png")]
    assert MaskFolder(tmp_path, run).find(run[0]) == tmp_path / "film.png"
    with pytest.raises(FilmError, match=r"could be that of sub/film\.png or film\.png"):
        MaskFolder(tmp_path, run).find(run[1])


def test_films_that_differ_in_extension_do_not_share_a_mask(tmp_path: Path) -> None:
    write_mask(tmp_path / "masks" / "a.png", blob())
    for name in ("a.png", "a.jpg"):
        write_mask(tmp_path / "films" / name, blob())
    run = find_films([tmp_path / "films"])
    for film in run:
        with pytest.raises(FilmError, match=rf"masks/{film.stem}\.png"):
            MaskFolder(tmp_path / "masks", run).find(film)


def test_without_the_films_of_the_run_only_paths_count(tmp_path: Path) -> None:
    write_mask(tmp_path / "film.png", blob())
    assert MaskFolder(tmp_path).find(source("film.jpg")) == tmp_path / "film.png"
    with pytest.raises(FilmError, match="no mask"):
        MaskFolder(tmp_path).find(source("a/film.png"))


@pytest.mark.parametrize("highest", [2, 17, 127])
def test_a_label_map_is_not_taken_for_an_empty_mask(tmp_path: Path, highest: int) -> None:
    Image.fromarray((blob() * highest).astype(np.uint8)).save(tmp_path / "labels.png")
    with pytest.raises(
        FilmError, match=rf"labels\.png holds values 0\.\.{highest}; expected 0 and 1, or 0 and 255"
    ):
        read_mask(tmp_path / "labels.png")


def test_mask_folder_must_hold_masks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no mask"):
        require_mask_folder(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        require_mask_folder(tmp_path / "gone")
