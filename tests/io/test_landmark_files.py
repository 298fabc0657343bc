from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spinecore.io.aasce import corners_to_landmarks
from spinecore.io.errors import FilmError, UsageError
from spinecore.io.landmarks import VERTEBRAE_COLUMNS, read_landmarks

HEADER = ",".join(VERTEBRAE_COLUMNS)
QUAD = "10,10,50,12,10,30,50,33"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def column(count: int = 17) -> np.ndarray:
    y = np.arange(count)[:, None] * 30.0 + 20
    quad = np.array([[40.0, 0], [80, 2], [41, 20], [81, 21]])
    return quad[None] + np.stack([np.zeros_like(y), y], axis=-1)


def test_own_format(tmp_path: Path) -> None:
    table = read_landmarks(
        write(tmp_path / "v.csv", HEADER, f"s/a.png,T1,0.5,{QUAD}", f"s/a.png,T2,1,{QUAD}")
    )
    marked = table.find("s/a.png")
    assert marked.levels == ("T1", "T2")
    assert marked.corners[0].tolist() == [[10, 10], [50, 12], [10, 30], [50, 33]]
    assert marked.confidence.tolist() == [0.5, 1.0]


@pytest.mark.parametrize("film", ["a.png", "s/a.png", "a.dcm", "s/t/a.dcm"])
def test_an_entry_without_folders_serves_the_only_film_it_can_mean(tmp_path: Path, film: str) -> None:
    file = write(tmp_path / "v.csv", HEADER, f"a.png,T1,1,{QUAD}", f"c.png,T1,1,{QUAD}")
    table = read_landmarks(file, run=[film, "s/b.png"])
    assert table.find(film).levels == ("T1",)
    with pytest.raises(FilmError, match="no landmarks"):
        table.find("s/b.png")


@pytest.mark.parametrize(
    "films", [("s/a.png", "t/a.png"), ("s/a.png", "t/a.dcm"), ("a.dcm", "a.jpg"), ("t/a.png", "a.jpg")]
)
def test_an_entry_that_could_mean_two_films_serves_neither(tmp_path: Path, films: tuple[str, str]) -> None:
    """Films of two patients often have the same name: neither may get the other's corners."""
    table = read_landmarks(write(tmp_path / "v.csv", HEADER, f"a.png,T1,1,{QUAD}"), run=films)
    for film, other in (films, films[::-1]):
        with pytest.raises(
            FilmError, match=rf"lists a\.png, which could mean {film} or {other}; .* by its path"
        ):
            table.find(film)


def test_the_film_of_exactly_that_path_keeps_its_entry(tmp_path: Path) -> None:
    """So a table of an earlier run over a folder serves the same folder, whatever failed in it then."""
    file = write(tmp_path / "v.csv", HEADER, f"a.png,T1,1,{QUAD}")
    table = read_landmarks(file, run=["a.png", "a.dcm", "sub/a.png"])
    assert table.find("a.png").levels == ("T1",)
    for film in ("a.dcm", "sub/a.png"):
        with pytest.raises(FilmError, match=rf"could mean {film} or a\.png"):
            table.find(film)


def test_an_entry_with_folders_means_no_film_of_another_folder(tmp_path: Path) -> None:
    file = write(tmp_path / "v.csv", HEADER, f"s/a.png,T1,1,{QUAD}", f"t/a.png,T2,1,{QUAD}")
    for film in ("a.png", "u/a.png", "u/s/a.png"):
        with pytest.raises(FilmError, match=rf"no landmarks for this film; s/a\.png there .* than {film}"):
            read_landmarks(file, run=[film]).find(film)
    table = read_landmarks(file, run=["s/a.dcm", "t/a.png"])
    assert table.find("t/a.png").levels == ("T2",)
    assert table.find("s/a.dcm").levels == ("T1",)  # the same path, exported in another format


def test_two_entries_for_one_film_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "v.csv", HEADER, f"a.png,T1,1,{QUAD}", f"a.jpg,T2,1,{QUAD}")
    with pytest.raises(FilmError, match=r"lists a\.png and a\.jpg, any of which could mean s/a\.dcm"):
        read_landmarks(file, run=["s/a.dcm"]).find("s/a.dcm")


def test_the_last_number_of_a_uid_is_no_extension(tmp_path: Path) -> None:
    table = read_landmarks(write(tmp_path / "v.csv", HEADER, f"1.2.840.113,T1,1,{QUAD}"), run=["1.2.840.114"])
    with pytest.raises(FilmError, match="no landmarks"):
        table.find("1.2.840.114")


def test_without_the_films_of_the_run_only_paths_count(tmp_path: Path) -> None:
    table = read_landmarks(write(tmp_path / "v.csv", HEADER, f"a.png,T1,1,{QUAD}"))
    assert table.find("a.png").levels == ("T1",)
    with pytest.raises(FilmError, match="no landmarks"):
        table.find("s/a.png")


def test_confidence_column_may_be_absent(tmp_path: Path) -> None:
    header = ",".join(name for name in VERTEBRAE_COLUMNS if name != "confidence")
    table = read_landmarks(write(tmp_path / "v.csv", header, f"a.png,T1,{QUAD}"))
    assert table.find("a.png").confidence.tolist() == [1.0]


def test_aasce_format_scales_with_the_film(tmp_path: Path) -> None:
    corners = column()
    row = corners_to_landmarks(corners, 200, 600)
    write(tmp_path / "landmarks.csv", ",".join(map(repr, row.tolist())))
    write(tmp_path / "filenames.csv", "a.jpg")
    marked = read_landmarks(tmp_path / "landmarks.csv").find("a.jpg")
    assert marked.levels is None
    assert np.allclose(marked.corners_px(200, 600), corners)
    assert np.allclose(marked.corners_px(400, 600)[..., 0], 2 * corners[..., 0])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["film,level,tl_x"], "column tl_y is missing"),
        ([HEADER], "lists no vertebra"),
        ([HEADER, "a.png,T1,1,10,x,50,12,10,30,50,33"], "line 2 holds a value that is no number"),
        ([HEADER, "a.png,T1,1,10,nan,50,12,10,30,50,33"], "line 2: corners must be finite"),
        ([HEADER, f"a.png,T1,7,{QUAD}"], "confidence in 0..1"),
        ([HEADER, f"a.png,T1,1,{QUAD}", f"a.png,T1,1,{QUAD}"], "T1 more than once"),
        ([HEADER, f"a.png,C3,1,{QUAD}"], "'C3' is neither"),
        ([HEADER, "a.png,T1,1,10"], "line 2 holds a value that is no number"),
        (["1,2,3"], "first line has 3 columns"),
        ([""], "neither vertebrae.csv"),
    ],
)
def test_bad_files_name_the_place(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_landmarks(write(tmp_path / "v.csv", *lines))


def test_aasce_format_needs_names_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "landmarks.csv", ",".join(["0.5"] * 136))
    with pytest.raises(UsageError, match=r"filenames\.csv: missing"):
        read_landmarks(tmp_path / "landmarks.csv")
    write(tmp_path / "filenames.csv", "a.jpg", "b.jpg")
    with pytest.raises(UsageError, match="1 rows for 2 names"):
        read_landmarks(tmp_path / "landmarks.csv")


def test_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_bytes(b"\xff\xfe\x00\x81" * 40)
    with pytest.raises(UsageError):
        read_landmarks(tmp_path / "v.csv")
