from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spinecore import __version__
from spinecore.cli import main
from spinecore.cli.app import app
from spinecore.registry import model_spec

COMMANDS = (
    "measure",
    "demo",
    "selfcheck",
    "evaluate",
    "train",
    "info",
    "doctor",
    "models",
    "explain",
    "bench",
    "segment",
    "predict",
    "screen",
    "study",
)
HEAVY = ("torch", "matplotlib", "pydicom", "skimage", "scipy", "jinja2", "PIL", "monai")


def spinecore(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from spinecore.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["info"], ["info", "--json"], ["doctor"], ["models"], ["--version"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from spinecore.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_help_names_every_command() -> None:
    done = spinecore("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["spinecore", name, "--help"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "Usage" in capsys.readouterr().out


def test_no_arguments_show_the_help() -> None:
    assert "Usage" in spinecore().stdout


def test_info_json_is_versioned() -> None:
    facts = json.loads(spinecore("info", "--json").stdout)
    assert facts["schema"] == "spinecore.info/1"
    assert facts["versions"]["torch"]
    assert "available" in facts["core"]
    assert [model["name"] for model in facts["models"]]


def test_doctor_says_why_and_what_to_do() -> None:
    done = spinecore("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ok"] else 1)
    for finding in report["findings"]:
        assert finding["state"] in ("on", "off", "broken")
        assert finding["why"], finding
        if finding["name"].startswith("extra ") and finding["state"] == "off":
            assert "pip install" in finding["remedy"]
        if finding["why"] == "no weights are shipped":
            key = finding["name"].removeprefix("model ")
            spec = model_spec(key)
            assert "--weights" in finding["remedy"]
            assert (f"spinecore train {key}" in finding["remedy"]) == (spec.trainer is not None)
            assert ("--landmarks" in finding["remedy"]) == (spec.task == "film")


def test_doctor_fails_on_a_nonsense_instruction_set() -> None:
    if not json.loads(spinecore("info", "--json").stdout)["core"]["available"]:
        assert "native core" in spinecore("doctor").stdout
        return
    done = spinecore("doctor", "--json", SPINECORE_CPU_ISA="quantum")
    assert done.returncode == 1
    [finding] = [entry for entry in json.loads(done.stdout)["findings"] if entry["name"] == "native core"]
    assert finding["state"] == "broken"
    assert "quantum" in finding["why"]
    assert "SPINECORE_CPU_ISA" in finding["remedy"]
    core = json.loads(spinecore("info", "--json", SPINECORE_CPU_ISA="quantum").stdout)["core"]
    assert "quantum" in core["isa_error"]
    assert core["isa_selected"] is None


def test_info_says_whose_threads_will_run_without_loading_torch() -> None:
    core = json.loads(spinecore("info", "--json").stdout)["core"]
    if not core["available"]:
        assert "threads" not in core
        return
    assert core["threads"].startswith("torch's pool")
    in_torch = "from spinecore import _native; print(_native.info()['threads'])"
    done = subprocess.run([sys.executable, "-c", in_torch], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in core["threads"]


def test_models_json() -> None:
    [model] = [
        entry for entry in json.loads(spinecore("models", "--json").stdout) if entry["name"] == "r2mf_net"
    ]
    assert model["task"] == "film"
    assert model["available"]


def test_explain_gives_a_reason_for_every_backend_of_every_operator() -> None:
    from spinecore.ops import OPS

    for name in [*OPS, *(f"{name}_backward" for name in OPS)]:
        done = CliRunner().invoke(app, ["explain", name])
        assert done.exit_code == 0, (name, done.exception)
        for word in (f"{name}: ", "cuda", "triton", "cpu", "reference"):
            assert word in done.stdout, (name, done.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "nonesuch"], "no operator 'nonesuch'"),
        (["explain", "scse_gate", "--shape", "1,x"], "whole numbers"),
        (["explain", "conv1x1", "--shape", "64,32"], "conv1x1 takes 4 sizes, for example 1,64,32,32"),
        (["measure", "", "-o", "out"], "one of the arguments is empty; is a shell variable unset?"),
        (["explain", "scse_gate", "--dtype", "complexity"], "'complexity' is unknown"),
    ],
)
def test_nonsense_is_refused_with_a_remedy(arguments: list[str], message: str) -> None:
    done = spinecore(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_selfcheck_passes_here() -> None:
    """Geometry and files in one table: 18 film checks and one for each check of the geometry."""
    from spinecore.spine.selfcheck import run_selfcheck

    geometry = run_selfcheck(100)
    done = spinecore("selfcheck", "--films", "6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"All {18 + len(geometry)} checks passed (angles within 0.1 degrees)" in done.stdout
    for name in ("residual angle on bending", "middle line of a mask", "dicom-monochrome1", "tiff16"):
        assert name in done.stdout


@pytest.mark.parametrize("part", ["spine", "measure"])
def test_selfcheck_fails_on_a_wrong_angle_anywhere(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spinecore.measure import selfcheck as films
    from spinecore.spine import selfcheck as geometry

    if part == "spine":
        wrong: list[Any] = [geometry.Check("turned", 30.0, 30.11)]
        monkeypatch.setattr(geometry, "run_selfcheck", lambda _seed: wrong)
    else:
        wrong = [films.Outcome("phantom", "png8", "aasce_midbody", 30.0, 30.11, geometry.LIMIT_DEG)]
        monkeypatch.setattr(films, "check_films", lambda _count, _seed: wrong)
    monkeypatch.setattr(sys, "argv", ["spinecore", "selfcheck", "--films", "1"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "1 of" in capsys.readouterr().out


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    quiet = spinecore("measure", tmp_path, "-o", tmp_path / "out")
    assert quiet.returncode == 2
    assert "Traceback" not in quiet.stderr
    loud = spinecore("measure", tmp_path, "-o", tmp_path / "out", SPINECORE_DEBUG="1")
    assert "Traceback" in loud.stderr


def test_evaluate_refuses_what_is_no_run(tmp_path: Path) -> None:
    done = spinecore("evaluate", tmp_path, "--reference", tmp_path)
    assert done.returncode == 2
    assert "filenames.csv" in done.stderr


@pytest.mark.parametrize("name", ["info", "models", "doctor"])
def test_brackets_in_the_reason_of_a_broken_model_are_printed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Markup of the terminal library would swallow them, and the remedy would install something else."""
    import spinecore.registry
    from spinecore.registry import Plugin

    broken = Plugin("odd", "odd:SPEC", "odd-dist", None, "needs pip install 'odd[bold]'")
    monkeypatch.setattr(spinecore.registry, "plugins", lambda: [broken])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["spinecore", name])
    with pytest.raises(SystemExit):
        main()
    assert "odd[bold]" in capsys.readouterr().out


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "spinecore", "--version"]
    assert __version__ in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_bench_measures_one_operator_and_prints_json_or_a_table() -> None:
    document = json.loads(spinecore("bench", "scse_gate", "--json").stdout)
    assert document["schema"] == "spinecore.bench/1"
    [row] = document["operators"]["scse_gate"]["forward float32"]["rows"]
    assert {"eager nhwc", "spinecore reference nchw"} <= {entry["name"] for entry in row["variants"]}


def test_bench_refuses_an_operator_without_benchmark() -> None:
    done = spinecore("bench", "nonesuch")
    assert done.returncode == 2
    assert "no benchmark of 'nonesuch'" in done.stderr
    assert "models: scoligait" in done.stderr


def test_bench_prints_the_steps_of_a_model_and_the_share_of_its_pooling() -> None:
    done = spinecore("bench", "scoligait")
    assert done.returncode == 0, done.stderr
    lines = {line.split("  ")[0].strip(): line for line in done.stdout.splitlines() if line.strip()}
    assert lines["knowledge map, 96 frames"].split()[-1] == "20"
    assert lines["network, map to score"].split()[-1] == "50"
    assert "% of network" in lines["latent pooling"]
