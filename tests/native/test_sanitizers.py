"""The core without Python, built and run under the sanitizers of the compiler."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spinecore import _native

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = sorted(Path(__file__).parent.glob("*.cpp"))
KERNELS = sorted((ROOT / "csrc/cpu/kernels").glob("*.cpp"))
ISA_FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c"],
}
INFO = _native.core().info()
COMPILED: list[str] = INFO["isa_compiled"]
RUNNABLE = COMPILED[: COMPILED.index(INFO["isa_best"]) + 1]


def compiler() -> str:
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    assert found, "the sanitizer tests need g++ or clang++"
    return found


def build(folder: Path, isas: list[str], flags: list[str]) -> Path:
    common = [
        compiler(),
        "-std=c++17",
        "-g1",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wno-psabi",
        f"-I{ROOT}/csrc/include",
        *flags,
    ]
    have = [f"-DSPINECORE_HAVE_{isa.upper()}=1" for isa in isas]
    shared = sorted((ROOT / "csrc/cpu").glob("*.cpp"))
    jobs = [(path, folder / f"{path.stem}.o", have) for path in (*shared, *DRIVERS)]
    for isa in isas:
        options = [
            f"-DSPINECORE_ISA=isa_{isa}",
            "-ffp-contract=fast",
            "-fno-exceptions",
            "-fno-rtti",
            *ISA_FLAGS[isa],
        ]
        jobs += [(path, folder / f"{path.stem}_{isa}.o", options) for path in KERNELS]

    def compile_one(job: tuple[Path, Path, list[str]]) -> str:
        source, target, options = job
        command = [*common, *options, "-c", str(source), "-o", str(target)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [text for text in pool.map(compile_one, jobs) if "error" in text]
    assert not complaints, complaints[0]
    program = folder / "driver"
    subprocess.run(
        [compiler(), *flags, *(str(job[1]) for job in jobs), "-o", str(program), "-lpthread"], check=True
    )
    return program


def run(program: Path, shapes: str, isas: list[str]) -> None:
    # Address randomisation off: older thread sanitizers do not know the memory layouts of newer kernels.
    command = ["setarch", platform.machine(), "-R"] if shutil.which("setarch") else []
    done = subprocess.run(
        [*command, str(program), shapes, *isas], capture_output=True, text=True, check=False, timeout=150
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs" in done.stdout


def test_no_access_out_of_bounds_and_no_undefined_behaviour(tmp_path: Path) -> None:
    flags = [
        "-fsanitize=address,undefined",
        "-fno-sanitize=null,vptr,object-size",
        "-fno-sanitize-recover=all",
    ]
    run(build(tmp_path, COMPILED, flags), "all", RUNNABLE)


def test_no_data_race(tmp_path: Path) -> None:
    run(build(tmp_path, ["baseline"], ["-fsanitize=thread"]), "large", ["baseline"])


@pytest.mark.parametrize("source", KERNELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("isa", COMPILED)
def test_a_kernel_object_shares_no_function_with_another(isa: str, source: Path, tmp_path: Path) -> None:
    """The linker merges weak symbols across instruction sets, and may keep what an old CPU cannot run."""
    options = [f"-DSPINECORE_ISA=isa_{isa}", "-fno-exceptions", "-fno-rtti", *ISA_FLAGS[isa]]
    target = tmp_path / "kernel.o"
    include = f"-I{ROOT}/csrc/include"
    subprocess.run(
        [
            compiler(),
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
