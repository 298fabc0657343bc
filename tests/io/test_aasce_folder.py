from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spinecore.io.aasce import (
    corners_to_landmarks,
    load_aasce,
    series_stem,
    split_by_series,
    twin_in_training,
)
from spinecore.io.errors import UsageError

WIDTH, HEIGHT = 120, 600


def spine() -> np.ndarray:
    y = np.arange(17)[:, None] * 32.0 + 20
    x = 6 * np.sin(np.arange(17) / 3)[:, None]
    quad = np.array([[40.0, 0], [80, 2], [41, 20], [81, 21]])
    return quad[None] + np.stack([x, y], axis=-1)


def make(folder: Path, films: dict[str, np.ndarray]) -> Path:
    (folder / "images").mkdir(parents=True)
    rows = []
    for name, corners in films.items():
        Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint8)).save(folder / "images" / name)
        rows.append(",".join(map(repr, corners_to_landmarks(corners, WIDTH, HEIGHT).tolist())))
    (folder / "filenames.csv").write_text("\n".join(films) + "\n")
    (folder / "landmarks.csv").write_text("\n".join(rows) + "\n")
    (folder / "angles.csv").write_text("30,20,10\n" * len(films))
    return folder


def test_corners_come_back_in_pixels(tmp_path: Path) -> None:
    data = load_aasce(make(tmp_path / "d", {"a.jpg": spine()}))
    assert np.allclose(data.corners[0], spine())
    assert data.sizes.tolist() == [[WIDTH, HEIGHT]]
    assert not (data.flawed | data.unrepairable).any()
    assert data.angles.tolist() == [[30, 20, 10]]


def test_rotated_list_and_crossed_corners_are_repaired_and_named(tmp_path: Path) -> None:
    crossed = spine()
    crossed[4] = crossed[4][[1, 0, 2, 3]]
    films = {"rotated.jpg": np.roll(spine(), -1, axis=0), "crossed.jpg": crossed, "clean.jpg": spine()}
    data = load_aasce(make(tmp_path / "d", films))
    assert data.flawed.tolist() == [True, True, False]
    assert not data.unrepairable.any()
    for corners in data.corners:
        assert np.allclose(corners, spine())


def test_a_body_without_area_is_beyond_repair(tmp_path: Path) -> None:
    flat = spine()
    flat[7] = flat[7].mean(axis=0)
    data = load_aasce(make(tmp_path / "d", {"a.jpg": flat}))
    assert data.unrepairable.tolist() == [True]


@pytest.mark.parametrize("name", ["filenames.csv", "landmarks.csv", "angles.csv", "images/a.jpg"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "d", {"a.jpg": spine()})
    (folder / name).unlink()
    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        load_aasce(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("angles.csv", "1,2\n", "line 1 has 2 columns, expected 3"),
        ("angles.csv", "1,2,x\n", "line 1"),
        ("angles.csv", "1,2,nan\n", "not finite"),
        ("angles.csv", "1,2,3\n4,5,6\n", "2 rows for 1 names"),
        ("filenames.csv", "a.jpg\na.jpg\n", "more than once"),
        ("filenames.csv", "\n", "is empty"),
        ("images/a.jpg", "text", "not a readable image"),
    ],
)
def test_bad_content_names_file_and_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    folder = make(tmp_path / "d", {"a.jpg": spine()})
    (folder / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        load_aasce(folder)


def test_series_stay_together() -> None:
    names = [f"x-{day:02d}-Jan-2017-{day} {letter} AP.jpg" for day in range(1, 29) for letter in "ABC"]
    held_out = split_by_series(names)
    for stem in {series_stem(name) for name in names}:
        assert (
            len({bool(held) for held, name in zip(held_out, names, strict=True) if series_stem(name) == stem})
            == 1
        )
    assert 0.19 * len(names) <= held_out.sum() <= 0.19 * len(names) + 3


def test_split_depends_on_names_only_and_on_the_salt() -> None:
    names = [f"x-01-Jan-2017-{number} A AP.jpg" for number in range(60)]
    first = split_by_series(names)
    backwards = split_by_series(names[::-1])[::-1]
    assert np.array_equal(first, backwards)
    assert not np.array_equal(first, split_by_series(names, salt="other"))


def test_series_stem() -> None:
    assert series_stem("sunhl-1th-02-Jan-2017-162 A AP.jpg") == "sunhl-1th-02-Jan-2017-162"
    assert series_stem("sunhl-1th-20-Jul-2016-coronal17.jpg") == "sunhl-1th-20-Jul-2016-coronal17"
    assert series_stem("film.png") == "film"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_nonsense_fraction(fraction: float) -> None:
    with pytest.raises(UsageError):
        split_by_series(["a"], fraction)


def test_real_set_has_the_flaws_known_of_it(aasce_folder: Path) -> None:
    data = load_aasce(aasce_folder)
    assert len(data) == 481
    assert data.flawed.sum() == 26
    assert np.flatnonzero(data.unrepairable).tolist() == [480]


def test_a_film_that_training_holds_under_another_name_is_no_judge() -> None:
    names = ["x-20-Jul-2016-coronal12.jpg", "x-25-Jul-2016-48 A AP.jpg", "x-25-Jul-2016-48 B AP.jpg"]
    for held in ([True, False, False], [False, True, False]):
        assert twin_in_training(names, np.array(held)).tolist() == held
    for held in ([True, True, False], [False, False, True]):
        assert not twin_in_training(names, np.array(held)).any()
