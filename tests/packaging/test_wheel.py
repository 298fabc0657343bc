"""The package as people install it: built from the source tree, put into an empty environment, imported."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORT = """
import json, sys, spinecore, spinecore.kernels, spinecore.plugins
from importlib.metadata import entry_points
try:
    import spinecore._core as core
    info = core.info()
except ModuleNotFoundError:
    info = None
models = sorted(entry.name for entry in entry_points(group="spinecore.models"))
facts = {"version": spinecore.__version__, "core": info, "models": models, "file": spinecore.__file__}
print(json.dumps(facts))
"""


def command(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=500,
    )


def pip_wheel(
    folder: Path, *options: str, isolated: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    isolation = [] if isolated else ["--no-build-isolation"]
    settings = [f"-Cbuild-dir={folder / 'build'}", *(f"-Ccmake.define.{option}" for option in options)]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-v",
        "--no-deps",
        *isolation,
        *settings,
        "-w",
        str(folder),
        ".",
    ]
    return command(*pip, **environment)


def built(folder: Path, done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stdout[-6000:]
    (wheel,) = folder.glob("spinecore_torch-*.whl")
    return wheel


def installed(folder: Path, wheel: Path) -> dict[str, object]:
    """What a fresh environment without torch sees of the wheel."""
    import json

    python = folder / "env" / "bin" / "python"
    assert command(sys.executable, "-m", "venv", folder / "env").returncode == 0
    done = command(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stdout
    seen = subprocess.run(
        [str(python), "-c", IMPORT], cwd=folder, capture_output=True, text=True, check=False
    )
    assert seen.returncode == 0, seen.stderr
    result: dict[str, object] = json.loads(seen.stdout)
    assert str(folder) in str(result["file"])
    return result


def test_wheel_built_in_isolation_installs_and_imports(tmp_path: Path) -> None:
    """No torch and no nvcc are needed to build; neither is torch to import."""
    wheel = built(tmp_path, pip_wheel(tmp_path, "SPINECORE_CORE=ON", "SPINECORE_CUDA=OFF", isolated=True))
    names = zipfile.ZipFile(wheel).namelist()
    assert "spinecore/py.typed" in names
    assert "spinecore/_core.pyi" in names
    assert "spinecore/kernels/__init__.py" in names
    assert "spinecore/plugins/r2mf_net/__init__.py" in names
    assert [
        name for name in names if name.startswith(("tests/", "benchmarks/", "csrc/")) or name.endswith(".pyc")
    ] == []
    seen = installed(tmp_path, wheel)
    assert isinstance(seen["core"], dict)
    assert seen["core"]["cuda_built"] is False
    assert seen["version"] == seen["core"]["version"]
    assert "r2mf_net" in seen["models"]  # type: ignore[operator]


def test_without_the_core_no_compiler_is_needed(tmp_path: Path) -> None:
    wheel = built(tmp_path, pip_wheel(tmp_path, "SPINECORE_CORE=OFF", CXX="/bin/false", CC="/bin/false"))
    assert installed(tmp_path, wheel)["core"] is None


def test_auto_without_a_compiler_installs_and_says_what_is_missing(tmp_path: Path) -> None:
    done = pip_wheel(tmp_path, CXX="/bin/false", CC="/bin/false")
    wheel = built(tmp_path, done)
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    assert "WITHOUT the native core" in " ".join(done.stdout.split())


def test_core_on_without_a_compiler_names_the_way_out(tmp_path: Path) -> None:
    done = pip_wheel(tmp_path, "SPINECORE_CORE=ON", CXX="/bin/false", CC="/bin/false")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "no working C++ compiler" in said
    assert "cmake.define.SPINECORE_CORE=OFF" in said


def test_auto_with_a_compiler_that_cannot_compile_the_kernels_installs_and_says_so(tmp_path: Path) -> None:
    """An old or foreign compiler must not end `pip install` in an error."""
    compiler = tmp_path / "c++"
    real = shutil.which("g++") or shutil.which("clang++")
    assert real, "g++ or clang++ is needed"
    flags = "-D__builtin_shuffle=unknown_builtin -D__builtin_shufflevector=unknown_builtin"
    compiler.write_text(f'#!/bin/sh\nexec {real} {flags} "$@"\n')
    compiler.chmod(0o755)
    done = pip_wheel(tmp_path, CXX=str(compiler))
    wheel = built(tmp_path, done)
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    said = " ".join(done.stdout.split())
    assert "vector extensions" in said
    assert "WITHOUT the native core" in said


def test_every_folder_with_an_init_file_is_imported_as_a_package() -> None:
    """An editable install fixes its packages when it is made: a folder that gains its `__init__.py` later
    is an empty namespace package until the next `pip install --no-deps -e .`.
    """
    places = {"spinecore": "spinecore", "kernels": "spinecore.kernels", "plugins": "spinecore.plugins"}
    for folder, package in places.items():
        for init in sorted((ROOT / folder).rglob("__init__.py")):
            inner = init.parent.relative_to(ROOT / folder).parts
            name = ".".join((package, *inner))
            spec = importlib.util.find_spec(name)
            assert spec is not None, f"{name} is not importable: reinstall"
            assert spec.origin is not None, f"{name} is an empty namespace package: reinstall"


@pytest.mark.parametrize("option", ["SPINECORE_CORE=YES", "SPINECORE_CUDA=maybe"])
def test_unknown_choice_is_an_error(option: str, tmp_path: Path) -> None:
    done = pip_wheel(tmp_path, option)
    assert done.returncode != 0
    assert "is not one of AUTO, ON, OFF" in " ".join(done.stdout.split())


def test_source_distribution_holds_the_sources_and_no_tests(tmp_path: Path) -> None:
    done = command(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        members = {member.name.split("/", 1)[1]: member.size for member in tar if "/" in member.name}
    for name in (
        "pyproject.toml",
        "CMakeLists.txt",
        "csrc/cpu/kernels/scse_gate.cpp",
        "spinecore/_native.py",
        "plugins/__init__.py",
    ):
        assert name in members
    unwanted = ("tests/", "benchmarks/", ".venv/", "build/", ".ci/", ".git/")
    assert [name for name in members if name.startswith(unwanted) or name.endswith((".so", ".pyc"))] == []
    assert sum(members.values()) < 64 * 2**20
