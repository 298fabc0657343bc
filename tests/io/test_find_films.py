from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spinecore.io.errors import UsageError
from spinecore.io.films import read_film
from spinecore.io.find import RASTER_SUFFIXES, RESULT_FOLDERS, find_films
from spinecore.measure import layout as films_layout
from spinecore.measure import screening
from spinecore.segment import layout as scans_layout


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def names(*paths: Path, exclude: Path | None = None) -> list[str]:
    return [source.film for source in find_films(list(paths), exclude)]


def test_folders_are_walked_sorted_and_mirrored(tmp_path: Path) -> None:
    touch(
        tmp_path / "b.png", tmp_path / "a" / "b.JPG", tmp_path / "a" / "c" / "d.tiff", tmp_path / "notes.txt"
    )
    found = find_films([tmp_path])
    assert [source.film for source in found] == ["a/b.JPG", "a/c/d.tiff", "b.png"]
    assert [source.stem for source in found] == ["a/b", "a/c/d", "b"]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / ".a.png", tmp_path / ".cache" / "b.png", tmp_path / "c.png")
    assert names(tmp_path) == ["c.png"]


def test_a_file_named_directly_keeps_its_name(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "film.weird")
    assert names(tmp_path / "x" / "film.weird") == ["film.weird"]


def test_equal_stems_do_not_collide(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "a.jpg", tmp_path / "a_png.tif", tmp_path / "b.png")
    stems = {source.film: source.stem for source in find_films([tmp_path])}
    assert stems["a.jpg"] == "a_jpg"
    assert stems["b.png"] == "b"
    assert len(set(stems.values())) == 4


def test_names_that_differ_in_case_or_composition_get_different_stems(tmp_path: Path) -> None:
    touch(tmp_path / "Film.png", tmp_path / "film.jpg")
    touch(
        tmp_path / (unicodedata.normalize("NFC", "é") + ".png"),
        tmp_path / (unicodedata.normalize("NFD", "é") + ".jpg"),
    )
    stems = [unicodedata.normalize("NFC", source.stem).casefold() for source in find_films([tmp_path])]
    assert len(set(stems)) == 4


def test_two_roots_of_equal_name_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path / "p" / "films" / "a.png", tmp_path / "q" / "films" / "a.png")
    assert names(tmp_path / "p" / "films", tmp_path / "q" / "films") == ["p/films/a.png", "q/films/a.png"]


def test_two_roots_carry_their_own_names(tmp_path: Path) -> None:
    touch(tmp_path / "p" / "a.png", tmp_path / "q" / "a.png")
    assert names(tmp_path / "p", tmp_path / "q") == ["p/a.png", "q/a.png"]


def test_files_of_one_folder_need_no_prefix(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "b.png")
    assert names(tmp_path / "b.png", tmp_path / "a.png") == ["a.png", "b.png"]


def test_each_file_counts_once(tmp_path: Path) -> None:
    touch(tmp_path / "s" / "a.png")
    assert len(find_films([tmp_path, tmp_path / "s", tmp_path / "s" / "a.png"])) == 1


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "films" / "a.png")
    (tmp_path / "films" / "loop").symlink_to(tmp_path / "films", target_is_directory=True)
    (tmp_path / "films" / "same.png").symlink_to(tmp_path / "films" / "a.png")
    assert names(tmp_path / "films") == ["a.png"]


def test_dicom_without_extension_is_found_by_its_preamble(tmp_path: Path) -> None:
    (tmp_path / "1.2.840.113").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "README").write_bytes(b"no")
    found = find_films([tmp_path])
    assert [(source.film, source.stem) for source in found] == [
        ("1.2.840.113", "1.2.840.113"),
        ("IM0001", "IM0001"),
    ]


def test_output_folder_inside_the_films_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "out" / "masks" / "a.png")
    assert names(tmp_path, exclude=tmp_path / "out") == ["a.png"]


def results(folder: Path, schema: str = "spinecore.run/1") -> Path:
    touch(folder / "masks" / "a.png", folder / "overlays" / "sub" / "a.png", folder / "evaluation.png")
    (folder / "run.json").write_text(f'{{\n "schema": "{schema}",\n "spinecore": "0.1.0"\n}}\n')
    return folder


@pytest.mark.parametrize("schema", ["spinecore.run/1", "spinecore.screening-run/1"])
def test_results_of_an_earlier_run_are_no_films_and_this_is_said(tmp_path: Path, schema: str) -> None:
    touch(tmp_path / "a.png")
    first = results(tmp_path / "first", schema)
    touch(first / "films" / "b.png", first / "c.png")
    said: list[str] = []
    found = find_films([tmp_path, tmp_path / "first" / ".."], tmp_path / "second", said.append)
    assert [source.film for source in found] == ["a.png", "first/c.png", "first/films/b.png"]
    assert said == [f"left out the masks and overlays of earlier runs in {first}"]


def test_a_killed_run_left_results_too(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "out" / "masks" / "a.png", tmp_path / "out" / "json" / "a.json")
    touch(tmp_path / "out" / ".running")
    assert names(tmp_path) == ["a.png"]


def test_the_output_folder_itself_is_not_worth_a_word(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    said: list[str] = []
    find_films([tmp_path], results(tmp_path / "out"), said.append)
    assert said == []


def test_folders_of_such_names_beside_another_run_json_are_searched(tmp_path: Path) -> None:
    results(tmp_path, schema="lab.run/1")
    assert names(tmp_path) == ["evaluation.png", "masks/a.png", "overlays/sub/a.png"]
    assert names(results(tmp_path) / "masks") == ["a.png"]  # given by name


def test_every_folder_that_a_run_writes_is_known_to_the_search() -> None:
    written = {folder for folder, _ in films_layout.FOLDERS.values()}
    written |= set(scans_layout.FOLDERS.values()) | set(screening.FOLDERS)
    assert written == set(RESULT_FOLDERS)


@pytest.mark.parametrize("suffix", RASTER_SUFFIXES)
def test_films_of_every_format_that_is_searched_for_can_be_read(tmp_path: Path, suffix: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (160, 1))
    Image.fromarray(ramp).save(tmp_path / f"film{suffix}")
    [source] = find_films([tmp_path])
    assert source.stem == "film"
    assert read_film(source.path).pixels.shape == (160, 96)


def test_files_of_other_kinds_are_counted_aloud(tmp_path: Path) -> None:
    touch(
        tmp_path / "a.png", tmp_path / "a.txt", tmp_path / "s" / "b.TXT", tmp_path / "c.gif", tmp_path / "IM"
    )
    touch(tmp_path / "films.csv", tmp_path / "x.json", tmp_path / "i.html", tmp_path / "README.md")
    touch(tmp_path / ".hidden.txt", tmp_path / ".git" / "x.txt", tmp_path / "Thumbs.db", tmp_path / "1.2.840")
    said: list[str] = []
    find_films([tmp_path, tmp_path / "s"], notice=said.append)
    assert said == ["skipped 5 other files (.txt 2, no extension 2, .gif 1)"]
    said.clear()
    named = [tmp_path / name for name in ("a.txt", "c.gif", "IM", "1.2.840")]
    find_films([tmp_path, *named], notice=said.append)
    assert said == ["skipped 1 other file (.txt 1)"]


def test_a_long_list_of_kinds_is_cut(tmp_path: Path) -> None:
    touch(*(tmp_path / f"x.k{number}" for number in range(9)))
    said: list[str] = []
    find_films([tmp_path], notice=said.append)
    assert said == ["skipped 9 other files (.k0 1, .k1 1, .k2 1, .k3 1, .k4 1, .k5 1 and 3 more kinds)"]


def test_the_table_of_contents_of_a_disc_is_no_film(tmp_path: Path) -> None:
    said: list[str] = []
    for name in ("DICOMDIR", "IM000000"):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    assert [source.film for source in find_films([tmp_path], notice=said.append)] == ["IM000000"]
    assert said == []


def test_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        find_films([tmp_path / "nowhere"])


def test_a_device_or_pipe_is_refused_instead_of_read_for_ever(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(UsageError, match=f"{path.name}: a device or pipe"):
            find_films([path])
    assert names(tmp_path) == []


def test_a_film_keeps_its_own_name_where_a_link_leads_to_it_too(tmp_path: Path) -> None:
    touch(tmp_path / "m.png")
    (tmp_path / "a.png").symlink_to("m.png")
    (tmp_path / "z.png").symlink_to("m.png")
    assert names(tmp_path) == ["m.png"]


def test_links_that_lead_nowhere_are_listed_so_that_the_run_can_say_so(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    (tmp_path / "gone.png").symlink_to("moved away.png")
    (tmp_path / "round.png").symlink_to("round.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert names(tmp_path) == ["a.png", "gone.png", "round.png"]


def test_a_folder_that_cannot_be_opened_is_listed_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "films" / "a.png", tmp_path / "films" / "private" / "b.png")
    real = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == closed:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    closed = "private"
    assert names(tmp_path / "films") == ["a.png", "private"]
    closed = "films"
    with pytest.raises(UsageError, match=r"films: cannot be opened"):
        find_films([tmp_path / "films"])


def test_a_name_that_is_no_utf_8_can_be_written_to_every_table(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/R\xf6ntgen.png"))
    try:
        touch(path)
    except OSError:  # file systems of macOS and Windows refuse such a name themselves
        return
    [source] = find_films([tmp_path])
    assert source.path.read_bytes() == b"x"
    assert source.film == "R\\xf6ntgen.png"
    assert source.stem.encode()


def test_the_longest_names_leave_room_for_the_endings_of_the_outputs(tmp_path: Path) -> None:
    touch(
        tmp_path / ("x" * 250 + "1.png"), tmp_path / ("x" * 250 + "2.png"), tmp_path / "s" / ("\u00e4" * 125)
    )
    (tmp_path / "s" / ("\u00e4" * 125)).write_bytes(b"\0" * 128 + b"DICM")
    found = find_films([tmp_path])
    assert len({source.stem for source in found}) == 3
    for source in found:
        touch(tmp_path / "out" / f"{source.stem}.json")
