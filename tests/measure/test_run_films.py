from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spinecore.io.film import Film
from spinecore.io.find import FilmSource, find_films
from spinecore.measure import run as run_module
from spinecore.measure.layout import load_result
from spinecore.measure.options import MeasureOptions
from spinecore.measure.readers import LandmarkReader
from spinecore.measure.result import FilmResult, from_json, to_json
from spinecore.measure.run import RunSummary, run_films
from spinecore.spine.reading import FilmReading


class CountingReader(LandmarkReader):
    """Knows which films it was asked to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[str] = []

    def read(self, source: FilmSource, film: Film) -> FilmReading:
        self.asked.append(source.film)
        return super().read(source, film)


def draw(path: Path, film: Film, result: FilmResult) -> tuple[float, tuple[int, int]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)
    return 1.0, (0, 0)


def measure(
    folder: Any, *, resume: bool = False, definition: str = "aasce_midbody", **more: Any
) -> tuple[RunSummary, list[str]]:
    reader = CountingReader(folder.landmarks)
    out = folder.root / "out"
    sources = find_films([folder.films])
    summary = run_films(sources, reader, MeasureOptions(definition), out, resume=resume, draw=draw, **more)
    return summary, reader.asked


def table(folder: Any, name: str) -> list[dict[str, str]]:
    with (folder.root / "out" / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def tables_without_times(folder: Any) -> dict[str, list[dict[str, str]]]:
    names = ("films.csv", "curves.csv", "vertebrae.csv", "aasce.csv", "translation.csv")
    found = {name: table(folder, name) for name in names}
    for row in found["films.csv"]:
        row.pop("seconds")
    return found


def test_headers_are_those_promised(folder: Any) -> None:
    folder.add("a.png")
    measure(folder)
    header = {
        name: (folder.root / "out" / name).read_text().splitlines()[0]
        for name in tables_without_times(folder)
    }
    assert header == {
        "films.csv": "film,width,height,status,reason,quality_flags,seconds",
        "curves.csv": "film,curve,definition,cobb_deg,upper_level,lower_level,apex_level,"
        "convexity,severity,confidence",
        "vertebrae.csv": "film,level,confidence,tl_x,tl_y,tr_x,tr_y,bl_x,bl_y,br_x,br_y",
        "aasce.csv": "film,a1,a2,a3",
        "translation.csv": "film,measure,level,upper_reference,lower_reference,px,percent_of_width,mm,"
        "spacing_source",
    }


def test_rows_and_files_of_a_film(folder: Any) -> None:
    folder.add("sub/a.png")
    measure(folder)
    [row] = table(folder, "films.csv")
    assert (row["film"], row["width"], row["height"], row["status"]) == (
        "sub/a.png",
        "240",
        "640",
        "measured",
    )
    assert len(table(folder, "vertebrae.csv")) == 17
    [angles] = table(folder, "aasce.csv")
    curves = table(folder, "curves.csv")
    assert [curve["curve"] for curve in curves] == [str(n) for n in range(1, len(curves) + 1)]
    assert float(curves[0]["cobb_deg"]) == pytest.approx(float(angles["a1"]), abs=1e-3)
    for file in ("masks/sub/a.png", "overlays/sub/a.png", "json/sub/a.json"):
        assert (folder.root / "out" / file).is_file()
    with Image.open(folder.root / "out" / "masks/sub/a.png") as mask:
        assert mask.size == (240, 640)
        assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_own_vertebrae_csv_reads_back_to_the_same_angles(folder: Any) -> None:
    folder.add("a.png")
    measure(folder)
    first = table(folder, "aasce.csv")
    folder.landmarks = folder.root / "again.csv"
    (folder.root / "out" / "vertebrae.csv").rename(folder.landmarks)
    measure(folder)
    for key in ("a1", "a2", "a3"):
        assert float(table(folder, "aasce.csv")[0][key]) == pytest.approx(float(first[0][key]), abs=0.02)


def test_bad_films_are_recorded_and_passed_over(folder: Any) -> None:
    folder.add("a.png")
    folder.add("z.png")
    (folder.films / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    (folder.films / "empty.jpg").write_bytes(b"")
    Image.open(folder.films / "a.png").save(folder.films / "unmarked.png")
    summary, _ = measure(folder)
    assert (summary.measured, summary.failed, summary.exit_code) == (2, 3, 3)
    rows = {row["film"]: row for row in table(folder, "films.csv")}
    assert rows["empty.jpg"]["reason"] == "the file is empty (0 bytes)"
    assert rows["unmarked.png"]["reason"] == "vertebrae.csv lists no landmarks for this film"
    assert rows["broken.png"]["status"] == "failed"
    assert rows["broken.png"]["width"] == ""
    assert {row["film"] for row in table(folder, "curves.csv")} == {"a.png", "z.png"}


def test_an_unforeseen_error_is_a_reason_not_the_end(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.add("a.png")
    folder.add("b.png")
    real = run_module.measure_film

    def broken(source: FilmSource, *rest: Any) -> FilmResult:
        if source.film == "a.png":
            raise ZeroDivisionError("by zero")
        return real(source, *rest)

    monkeypatch.setattr(run_module, "measure_film", broken)
    summary, _ = measure(folder)
    assert summary.exit_code == 3
    assert table(folder, "films.csv")[0]["reason"] == "unexpected ZeroDivisionError: by zero"


def test_a_full_disk_ends_the_run(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.add("a.png")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_module, "write_mask", full)
    with pytest.raises(OSError, match="No space"):
        measure(folder)


def test_resume_measures_nothing_twice_and_keeps_the_rows(folder: Any) -> None:
    for name in ("a.png", "b.png"):
        folder.add(name)
    measure(folder)
    before = tables_without_times(folder)
    summary, asked = measure(folder, resume=True)
    assert (asked, summary.reused, summary.measured) == ([], 2, 2)
    assert tables_without_times(folder) == before


def test_resume_looks_at_content_not_at_dates(folder: Any) -> None:
    path = folder.add("a.png")
    folder.add("b.png")
    measure(folder)
    path.touch()
    assert measure(folder, resume=True)[1] == []
    folder._write_film("a.png", np.array([[100.0, 0], [110.0, 639]]))
    assert measure(folder, resume=True)[1] == ["a.png"]


def test_resume_looks_at_options(folder: Any) -> None:
    folder.add("a.png")
    measure(folder)
    assert measure(folder, resume=True, definition="srs_endplate")[1] == ["a.png"]
    assert table(folder, "curves.csv")[0]["definition"] == "srs_endplate"


def test_resume_looks_at_the_version(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version may read the same weights to other numbers."""
    folder.add("a.png")
    measure(folder)
    assert measure(folder, resume=True)[1] == []
    monkeypatch.setattr("spinecore.measure.options.package_version", lambda: "999.0")
    assert measure(folder, resume=True)[1] == ["a.png"]
    assert measure(folder, resume=True)[1] == []


def test_resume_looks_at_the_landmarks_of_the_film(folder: Any) -> None:
    folder.add("a.png")
    folder.add("b.png")
    measure(folder)
    folder.corners["b.png"] = folder.corners["b.png"] + 1.0
    folder._write_landmarks()
    assert measure(folder, resume=True)[1] == ["b.png"]


@pytest.mark.parametrize("file", ["masks/a.png", "overlays/a.png", "json/a.json"])
def test_resume_measures_again_what_lost_a_file(folder: Any, file: str) -> None:
    folder.add("a.png")
    folder.add("b.png")
    measure(folder)
    (folder.root / "out" / file).unlink()
    assert measure(folder, resume=True)[1] == ["a.png"]
    assert (folder.root / "out" / file).is_file()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "spinecore.film/0"}', '{"schema": "spinecore.film/1"}']
)
def test_resume_survives_a_torn_record(folder: Any, text: str) -> None:
    folder.add("a.png")
    measure(folder)
    (folder.root / "out" / "json" / "a.json").write_text(text)
    assert measure(folder, resume=True)[1] == ["a.png"]


def test_resume_tries_failed_films_again(folder: Any) -> None:
    folder.add("a.png")
    (folder.films / "b.png").write_bytes(b"")
    assert measure(folder)[0].exit_code == 3
    folder.add("b.png")
    summary, asked = measure(folder, resume=True)
    assert (asked, summary.exit_code) == (["b.png"], 0)


def test_without_resume_everything_is_measured_and_old_films_leave(folder: Any) -> None:
    folder.add("a.png")
    folder.add("sub/b.png")
    measure(folder)
    foreign = folder.root / "out" / "json" / "notes.json"
    foreign.write_text('{"mine": true}')
    (folder.films / "sub" / "b.png").unlink()
    summary, asked = measure(folder)
    assert asked == ["a.png"]
    assert summary.removed == 1
    left = sorted(
        path.relative_to(folder.root / "out").as_posix() for path in (folder.root / "out").rglob("*.*")
    )
    assert not [path for path in left if "b." in path]
    assert foreign.is_file()


def test_a_film_that_fails_now_loses_its_old_mask(folder: Any) -> None:
    path = folder.add("a.png")
    measure(folder)
    path.write_bytes(b"")
    measure(folder, resume=True)
    assert not (folder.root / "out" / "masks" / "a.png").exists()
    assert table(folder, "vertebrae.csv") == []


def test_ctrl_c_keeps_what_is_done(folder: Any) -> None:
    for name in ("a.png", "b.png", "c.png"):
        folder.add(name)

    def stop(result: FilmResult, reused: bool) -> None:
        if result.film == "b.png":
            raise KeyboardInterrupt

    summary, _ = measure(folder, on_film=stop)
    assert summary.interrupted
    assert summary.exit_code == 130
    assert [row["film"] for row in table(folder, "films.csv")] == ["a.png", "b.png"]
    assert measure(folder, resume=True)[1] == ["c.png"]
    assert len(table(folder, "films.csv")) == 3


def test_no_half_written_file_is_left(folder: Any) -> None:
    folder.add("a.png")
    measure(folder)
    assert not list((folder.root / "out").rglob(".writing-*"))


def test_json_record_is_versioned_complete_and_reads_back(folder: Any) -> None:
    folder.add("a.png")
    measure(folder)
    record = json.loads((folder.root / "out" / "json" / "a.json").read_text())
    assert record["schema"] == "spinecore.film/1"
    assert set(record["curves"]) == {"aasce_midbody", "srs_endplate", "centerline_tangent"}
    assert record["severity_cut_offs_deg"] == [10, 25, 40]
    assert record["translation"]["trunk_shift"]["upper_reference"] == "T1"
    assert record["translation"]["coronal_balance"]["px"] is None
    result = load_result(folder.root / "out", "a")
    assert result is not None
    assert json.loads(json.dumps(to_json(result))) == record
    assert from_json(record).aasce == tuple(record["aasce"])


def test_unicode_names(folder: Any) -> None:
    folder.add("Überblick/脊柱 ñ.png")
    summary, _ = measure(folder)
    assert summary.exit_code == 0
    assert (folder.root / "out" / "masks" / "Überblick" / "脊柱 ñ.png").is_file()
    assert table(folder, "films.csv")[0]["film"] == "Überblick/脊柱 ñ.png"


def test_a_comma_and_a_quote_in_a_name_survive_the_table(folder: Any) -> None:
    folder.add('a, "b".png')
    measure(folder)
    assert table(folder, "films.csv")[0]["film"] == 'a, "b".png'
