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


def test_films_are_found_by_path_name_and_stem(tmp_path: Path) -> None:
    table = read_landmarks(write(tmp_path / "v.csv", HEADER, f"s/a.png,T1,1,{QUAD}"))
    for film in ("s/a.png", "a.png", "other/a.png", "a.dcm"):
        assert table.find(film).levels == ("T1",)
    with pytest.raises(FilmError, match="no landmarks"):
        table.find("b.png")


def test_ambiguous_name_is_refused_for_that_film_only(tmp_path: Path) -> None:
    table = read_landmarks(write(tmp_path / "v.csv", HEADER, f"s/a.png,T1,1,{QUAD}", f"t/a.png,T1,1,{QUAD}"))
    assert table.find("t/a.png").levels == ("T1",)
    with pytest.raises(FilmError, match=r"2 films named a\.png"):
        table.find("a.png")


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
