"""`measure` writes where something was: earlier runs, interrupted ones, a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, command, rows


def test_output_inside_the_film_folder_is_not_measured_again(folder: Any, run: Run) -> None:
    folder.add("a.png")
    out = folder.films / "out"
    for _ in range(2):
        assert run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks)[0] == 0
        assert [row["film"] for row in rows(out)] == ["a.png"]


def test_results_of_an_earlier_run_among_the_films_are_not_measured(folder: Any, run: Run) -> None:
    folder.add("a.png")
    (folder.films / "notes.txt").write_text("no film")
    options = ("--landmarks", folder.landmarks)
    code, printed = run("measure", folder.films, "-o", folder.films / "first", *options)
    assert code == 0, printed
    assert "skipped 1 other file (.txt 1)" in printed
    code, printed = run("measure", folder.films, "-o", folder.films / "second", *options)
    assert code == 0, printed
    assert f"overlays of earlier runs in {folder.films / 'first'}" in printed
    assert [row["film"] for row in rows(folder.films / "second")] == ["a.png"]


def without_seconds(out: Path) -> dict[str, Any]:
    tables: dict[str, Any] = {
        name: (out / name).read_text() for name in ("curves.csv", "vertebrae.csv", "aasce.csv")
    }
    tables["films.csv"] = [{**row, "seconds": ""} for row in rows(out)]
    for file in sorted((out / "masks").rglob("*.png")):
        tables[file.name] = file.read_bytes()
    return tables


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_in_the_middle_then_resumed_equals_an_unbroken_run(
    folder: Any, run: Run, how: signal.Signals
) -> None:
    films = 20
    for number in range(films):
        folder.add(f"film{number:02d}.png", amplitude=5.0 + number)
    out, whole = folder.root / "out", folder.root / "whole"
    options = ("--landmarks", folder.landmarks)
    # Behind whoever watches it: on a busy machine it would be done before it is seen to have begun.
    measure = command("measure", folder.films, "-o", out, *options)
    # Whoever started the tests in the background has them ignore Ctrl-C, and their children too.
    measure[2] = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {measure[2]}"
    child = subprocess.Popen(["nice", "-n", "19", *measure], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 150
    while len(list((out / "json").glob("*.json"))) < 3 and time.monotonic() < until:
        assert child.poll() is None, "the run ended before it could be interrupted"
        time.sleep(0.005)
    child.send_signal(how)
    code = child.wait(timeout=60)
    done = len(list((out / "json").glob("*.json")))
    assert 3 <= done < films
    if how is signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130
        assert len(rows(out)) == done
        assert f"{films - done} of {films} films are not measured" in (out / "index.html").read_text()
    assert run("measure", folder.films, "-o", out, *options, "--resume")[0] == 0
    assert json.loads((out / "run.json").read_text())["films"]["reused"] >= 3
    assert run("measure", folder.films, "-o", whole, *options)[0] == 0
    assert without_seconds(out) == without_seconds(whole)
    assert "not measured" not in (out / "index.html").read_text()


def test_results_of_another_run_are_removed_on_request_only(folder: Any, run: Run) -> None:
    folder.add("a.png")
    folder.add("b.png", amplitude=20)
    out = folder.root / "out"
    options = ("-o", out, "--landmarks", folder.landmarks)
    assert "removed" not in run("measure", folder.films / "a.png", *options)[1]
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    code, printed = run("measure", folder.films / "b.png", *options)
    assert code == 2
    assert "films that are not in this run, or have changed since (a.png)" in printed
    assert "--overwrite" in printed
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert "1 of an earlier run removed" in run("measure", folder.films / "b.png", *options, "--overwrite")[1]
    assert not (out / "overlays" / "a.png").exists()


def test_a_film_of_the_same_name_does_not_replace_another(folder: Any, run: Run) -> None:
    folder.add("p/standing.png")
    folder.add("q/standing.png", amplitude=30)
    out = folder.root / "out"
    table = folder.root / "one.csv"
    table.write_text(folder.landmarks.read_text().replace("p/standing", "standing").replace("q/", "r/"))
    options = ("-o", out, "--landmarks", table)
    assert run("measure", folder.films / "p" / "standing.png", *options)[0] == 0
    before = rows(out, "curves.csv")
    for more in ((), ("--resume",)):
        assert run("measure", folder.films / "q" / "standing.png", *options, *more)[0] == 2
        assert rows(out, "curves.csv") == before
    assert run("measure", folder.films / "p" / "standing.png", *options)[0] == 0


@pytest.mark.parametrize("name", ["masks/a.png", "overlays/a.png", "json/a.json", "curves.csv", "index.html"])
def test_a_full_disk_is_one_line_with_the_place_and_the_remedy(
    folder: Any, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from spinecore.io import atomic

    folder.add("a.png")
    out = folder.root / "out"
    real = atomic.os.fdopen

    def full(handle: int, mode: str) -> Any:
        if current[-1] != out / name:
            return real(handle, mode)
        os.close(handle)
        return real(os.open("/dev/full", os.O_WRONLY), mode)

    current: list[Path] = []

    def noted(path: Path, write: Any) -> None:
        current.append(path)
        original(path, write)

    original = atomic.write_atomic
    for module in (
        "spinecore.io.atomic",
        "spinecore.io.masks",
        "spinecore.report.overlay",
        "spinecore.report.page",
    ):
        monkeypatch.setattr(f"{module}.write_atomic", noted)
    monkeypatch.setattr(atomic.os, "fdopen", full)
    code, printed = run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks)
    assert code == 1, printed
    assert f"{out / name}: No space left on device; make room" in " ".join(printed.split("\n"))
    assert "Traceback" not in printed
    assert not list(out.rglob(".writing-*"))


def test_two_runs_do_not_write_into_one_folder(folder: Any, run: Run) -> None:
    """The second would take the records of the first for remains of an earlier run and remove them."""
    for number in range(12):
        folder.add(f"film{number:02d}.png", amplitude=5.0 + number)
    out = folder.root / "out"
    options = ("-o", out, "--landmarks", folder.landmarks)
    child = subprocess.Popen(command("measure", folder.films, *options), stderr=subprocess.DEVNULL)
    until = time.monotonic() + 150
    while not list((out / "json").glob("*.json")) and time.monotonic() < until:
        time.sleep(0.005)
    code, printed = run("measure", folder.films / "film03.png", *options)
    assert code == 2, printed
    assert "another run is writing into" in printed
    assert child.wait(timeout=60) == 0
    assert len(rows(out)) == 12
    assert run("measure", folder.films / "film03.png", *options, "--overwrite")[0] == 0
    assert not (out / ".running").exists()
