"""The core without Python, built and run under the sanitizers of the compiler."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from spinecore import _native

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = sorted(Path(__file__).parent.glob("*.cpp"))
KERNELS = sorted((ROOT / "csrc/cpu/kernels").glob("*.cpp"))
LIGHT = ["-g1", "-O1"]
Build = Callable[..., Path]
INFO = _native.core().info()
COMPILED: list[str] = INFO["isa_compiled"]
RUNNABLE = COMPILED[: COMPILED.index(INFO["isa_best"]) + 1]


def run(program: Path, shapes: str, isas: list[str]) -> None:
    # Address randomisation off: older thread sanitizers do not know the memory layouts of newer kernels.
    command = ["setarch", platform.machine(), "-R"] if shutil.which("setarch") else []
    done = subprocess.run(
        [*command, str(program), shapes, *isas], capture_output=True, text=True, check=False, timeout=150
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs" in done.stdout


def test_no_access_out_of_bounds_and_no_undefined_behaviour(build: Build, tmp_path: Path) -> None:
    flags = [
        *LIGHT,
        "-fsanitize=address,undefined",
        "-fno-sanitize=null,vptr,object-size",
        "-fno-sanitize-recover=all",
    ]
    run(build(tmp_path, DRIVERS, COMPILED, flags), "all", RUNNABLE)


def test_no_data_race(build: Build, tmp_path: Path) -> None:
    flags = [*LIGHT, "-fsanitize=thread"]
    run(build(tmp_path, DRIVERS, ["baseline"], flags), "large", ["baseline"])


@pytest.mark.parametrize("source", KERNELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("isa", COMPILED)
def test_a_kernel_object_shares_no_function_with_another(
    isa: str, source: Path, compiler: str, isa_flags: dict[str, list[str]], tmp_path: Path
) -> None:
    """The linker merges weak symbols across instruction sets, and may keep what an old CPU cannot run."""
    options = [f"-DSPINECORE_ISA=isa_{isa}", "-fno-exceptions", "-fno-rtti", *isa_flags[isa]]
    target = tmp_path / "kernel.o"
    include = f"-I{ROOT}/csrc/include"
    subprocess.run(
        [
            compiler,
            "-std=c++17",
            "-O1",
            "-Wno-psabi",
            include,
            *options,
            "-c",
            str(source),
            "-o",
            str(target),
        ],
        check=True,
    )
    symbols = subprocess.run(
        ["nm", str(target)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [line for line in symbols if line[17:18] in "VWuvw"] == []
    defined = [line for line in symbols if line[17:18].isupper() and line[17:18] != "U"]
    assert all(f"isa_{isa}" in line for line in defined), defined
