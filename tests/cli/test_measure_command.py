from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run, command, rows
from PIL import Image

from spinecore.io.masks import write_mask
from spinecore.spine.raster import polygon_mask
from spinecore.spine.vertebrae import Vertebrae


def test_everything_promised_is_written(folder: Any, run: Run) -> None:
    folder.add("a.png")
    folder.add("sub/a.png")
    out = folder.root / "out"
    code, printed = run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks)
    assert code == 0, printed
    for name in (
        "films.csv",
        "curves.csv",
        "vertebrae.csv",
        "aasce.csv",
        "translation.csv",
        "index.html",
        "run.json",
    ):
        assert (out / name).is_file(), name
    for stem in ("a", "sub/a"):
        for kind in ("masks/{}.png", "overlays/{}.png", "json/{}.json"):
            assert (out / kind.format(stem)).is_file()
    record = json.loads((out / "run.json").read_text())
    assert record["schema"] == "spinecore.run/1"
    assert record["films"] == {"planned": 2, "measured": 2, "failed": 0, "reused": 0, "duplicates": 1}
    assert record["reader"]["kind"] == "landmarks"
    for key in ("versions", "device", "options", "timings", "backends", "weights_sha256"):
        assert key in record


def test_some_failed_is_exit_3(folder: Any, run: Run) -> None:
    folder.add("a.png")
    (folder.films / "b.png").write_text("no film")
    code, printed = run("measure", folder.films, "-o", folder.root / "out", "--landmarks", folder.landmarks)
    assert code == 3
    assert "b.png" in printed
    assert "not a PNG" in printed


def test_all_failed_still_gives_tables_and_page(folder: Any, run: Run) -> None:
    folder.add("a.png")
    (folder.films / "a.png").write_bytes(b"")
    out = folder.root / "out"
    assert run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks)[0] == 3
    assert rows(out)[0]["status"] == "failed"
    assert "0 bytes" in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{empty}", "-o", "{out}", "--landmarks", "{marks}"], "no films in"),
        (["{root}/gone", "-o", "{out}"], "no such file or folder"),
        (["{films}", "-o", "{marks}", "--landmarks", "{marks}"], "is a file"),
        (["{films}", "-o", "{films}", "--landmarks", "{marks}"], "also a folder of films"),
        (["{films}", "-o", "{root}", "--landmarks", "{marks}"], "lies inside"),
        (["{films}", "-o", "{out}", "--landmarks", "{root}/gone.csv"], "gone.csv"),
        (["{films}", "-o", "{out}", "--masks", "{root}/gone"], "no such folder"),
        (["{films}", "-o", "{out}", "--masks", "{empty}"], "holds no mask"),
        (["{films}", "-o", "{out}", "--landmarks", "{marks}", "--masks", "{empty}"], "exclude each other"),
        (["{films}", "-o", "{out}", "--landmarks", "{marks}", "--model", "r2mf_net"], "exclude each other"),
        (["{films}", "-o", "{out}", "--landmarks", "{marks}", "--definition", "cobb"], "'cobb' is unknown"),
        (["{films}", "-o", "{out}", "--model", "nonesuch"], "no model named 'nonesuch'"),
        (["{films}", "-o", "{out}", "--weights", "{root}/gone.safetensors"], "no such weights file"),
        (["{films}"], "Missing option"),
        (["-o", "{out}"], "Missing argument"),
        (["{films}", "-o", "{out}", "--frobnicate"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_2_with_a_reason(
    folder: Any, run: Run, arguments: list[str], message: str
) -> None:
    folder.add("a.png")
    (folder.root / "empty").mkdir()
    places = {
        "empty": folder.root / "empty",
        "out": folder.root / "out",
        "marks": folder.landmarks,
        "root": folder.root,
        "films": folder.films,
    }
    code, printed = run("measure", *(argument.format(**places) for argument in arguments))
    assert code == 2, printed
    assert message in " ".join(printed.replace("│", " ").split())
    assert "Traceback" not in printed
    assert not (folder.root / "out" / "films.csv").exists()


def test_masks_need_no_definition(folder: Any, run: Run) -> None:
    folder.add("s/a.png", amplitude=30)
    polygon = Vertebrae.from_corners(folder.corners["s/a.png"]).column_polygon()
    write_mask(folder.root / "masks" / "s" / "a.png", polygon_mask(polygon, 640, 240))
    out = folder.root / "out"
    code, printed = run("measure", folder.films, "-o", out, "--masks", folder.root / "masks")
    assert code == 0, printed
    [first, *_] = rows(out, "curves.csv")
    assert first["definition"] == "centerline_tangent"
    assert first["upper_level"] == ""
    assert rows(out, "aasce.csv") == []
    code, printed = run(
        "measure", folder.films, "-o", out, "--masks", folder.root / "masks", "--definition", "srs_endplate"
    )
    assert code == 2
    assert "give no vertebrae" in printed


def test_all_definitions_in_one_table(folder: Any, run: Run) -> None:
    folder.add("a.png")
    out = folder.root / "out"
    run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks, "--definition", "all")
    assert {row["definition"] for row in rows(out, "curves.csv")} == {
        "srs_endplate",
        "aasce_midbody",
        "centerline_tangent",
    }


def test_corners_of_one_patient_never_serve_another(folder: Any, run: Run) -> None:
    """The table of a run over one patient's folder lists names without folders."""
    for patient in ("PatA", "PatB"):
        folder.add(f"{patient}/IM1.png", amplitude=10 if patient == "PatA" else 30)
    alone, both = folder.root / "alone", folder.root / "both"
    code, printed = run("measure", folder.films, "-o", both, "--landmarks", folder.landmarks)
    assert code == 0, printed
    table = folder.root / "PatA.csv"
    lines = folder.landmarks.read_text().splitlines(keepends=True)
    table.write_text(
        "".join([lines[0], *(line.replace("PatA/", "") for line in lines if line.startswith("PatA/"))])
    )
    assert run("measure", folder.films / "PatA", "-o", alone, "--landmarks", table)[0] == 0
    again = folder.root / "again"
    code, printed = run("measure", folder.films / "PatA", "-o", again, "--landmarks", alone / "vertebrae.csv")
    assert code == 0, printed
    assert rows(again, "curves.csv")[0]["cobb_deg"] == rows(both, "curves.csv")[0]["cobb_deg"]
    code, printed = run("measure", folder.films, "-o", both, "--landmarks", alone / "vertebrae.csv")
    assert code == 3
    assert [row["status"] for row in rows(both)] == ["failed", "failed"]
    assert "could mean PatA/IM1.png or PatB/IM1.png" in rows(both)[0]["reason"]


def test_one_mask_does_not_serve_two_films(folder: Any, run: Run) -> None:
    for name in ("p/film.png", "q/film.png"):
        folder.add(name)
    polygon = Vertebrae.from_corners(folder.corners["p/film.png"]).column_polygon()
    write_mask(folder.root / "masks" / "film.png", polygon_mask(polygon, 640, 240))
    out = folder.root / "out"
    given = (folder.films / "p", folder.films / "q")
    assert run("measure", *given, "-o", out, "--masks", folder.root / "masks")[0] == 3
    assert all("p/film.png" in row["reason"] and "q/film.png" in row["reason"] for row in rows(out))


def test_no_identity_leaves_a_dicom_file(folder: Any, run: Run) -> None:
    import pydicom

    from spinecore.measure.selfcheck import write_film

    folder.add("a.png")
    with Image.open(folder.films / "a.png") as image:
        pixels = np.asarray(image, dtype=np.float32) / 255
    path = write_film(folder.films / "a", pixels, "dicom-monochrome1")
    (folder.films / "a.png").unlink()
    data = pydicom.dcmread(path)
    data.PatientName, data.PatientID, data.PatientBirthDate = "Secret^Person", "PID-4711", "19990101"
    data.InstitutionName, data.AccessionNumber = "Hidden Hospital", "ACC-12"
    data.save_as(path)
    out = folder.root / "out"
    assert run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks)[0] == 0
    for file in out.rglob("*.*"):
        content = file.read_bytes() if file.is_file() else b""
        for secret in (b"Secret", b"PID-4711", b"19990101", b"Hidden", b"ACC-12"):
            assert secret not in content, file


def test_memory_does_not_grow_with_the_number_of_films(folder: Any) -> None:
    for number in range(24):
        folder.add(f"film{number:02d}.png")
    report = (
        "import resource, sys, runpy; from spinecore.cli import main\n"
        "try: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )

    def peak(films: list[Path], out: Path) -> int:
        arguments = ["measure", *map(str, films), "-o", str(out), "--landmarks", str(folder.landmarks)]
        done = subprocess.run(
            [sys.executable, "-c", report, *arguments],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ,
        )
        return int(done.stdout.split()[-1])

    everything = sorted(folder.films.glob("*.png"))
    few = peak(everything[:4], folder.root / "few")
    many = peak(everything, folder.root / "many")
    assert many < few * 1.15  # 20 films more, 3 MB of pixels each as float32 with mask and overlay


def test_a_wrong_instruction_set_ends_the_run_before_the_first_film(folder: Any) -> None:
    from spinecore.cli.environment import core_state

    folder.add("a.png")
    if not core_state()["available"]:
        return
    done = subprocess.run(
        command("measure", folder.films, "-o", folder.root / "out"),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SPINECORE_CPU_ISA": "quantum"},
    )
    assert done.returncode == 2, done.stderr
    assert "SPINECORE_CPU_ISA='quantum'" in done.stderr
    assert not (folder.root / "out").exists()


def test_every_odd_name_is_safe_in_paths_tables_and_page(folder: Any, run: Run) -> None:
    odd = [
        "with space.png", "\u00fcn\u00ef-\u810a\u67f1.png", "quo'te\"s.png", "<script>alert(1)<!--.png",
        "new\nline.png", "a,b;c.png", "=1+1.png", "-o.png", "50%20#1?.png", "tab\tbell\x07\x1b[31m.png",
        "[red]x[|red].png", "&amp;.png", "back\\slash.png", "a..b/c.d.png", "x" * 251 + ".png",
    ]  # fmt: skip
    for name in odd:
        folder.add(name)
    folder.add("bad\x1b[31m[bold].png").write_bytes(b"")
    out = folder.root / "out"
    code, printed = run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks)
    assert code == 3, printed
    assert "\x1b[31m" not in printed
    assert "bad\\x1b[31m[bold].png" in printed
    found = rows(out)
    assert {row["film"] for row in found if row["status"] == "measured"} == {*odd}
    assert len(list((out / "masks").rglob("*.png"))) == len(odd)
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert not [path for path in folder.root.iterdir() if path.name not in ("films", "out", "vertebrae.csv")]


def test_files_of_equal_content_are_counted(folder: Any, run: Run) -> None:
    for name in ("a.png", "b/a.png", "b/other.png"):
        folder.add(name)
    folder.add("c.png", amplitude=25)
    out = folder.root / "out"
    code, printed = run("measure", folder.films, "-o", out, "--landmarks", folder.landmarks)
    assert code == 0
    assert "2 the same file as another" in printed
    assert json.loads((out / "run.json").read_text())["films"]["duplicates"] == 2
