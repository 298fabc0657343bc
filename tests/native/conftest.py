"""Builds programs of the core without Python, from its sources and a test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ISA_FLAGS: dict[str, list[str]] = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c"],
}
Build = Callable[..., Path]


@pytest.fixture(scope="session")
def compiler() -> str:
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    assert found, "the native tests need g++ or clang++"
    return found


@pytest.fixture(scope="session")
def isa_flags() -> dict[str, list[str]]:
    """What CMakeLists.txt compiles the kernels of each set with."""
    return ISA_FLAGS


@pytest.fixture(scope="session")
def build(compiler: str) -> Build:
    """(folder, sources of the program, instruction sets, flags) -> the program. Kernels of the sets that are
    ``only_linked`` are compiled quickly, for a program that runs others.
    """

    def build(
        folder: Path,
        sources: Sequence[Path],
        isas: Sequence[str],
        flags: Sequence[str],
        only_linked: Sequence[str] = (),
    ) -> Path:
        common = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Wno-psabi", f"-I{ROOT}/csrc/include", *flags]
        have = [f"-DSPINECORE_HAVE_{isa.upper()}=1" for isa in isas]
        shared = sorted((ROOT / "csrc/cpu").glob("*.cpp"))
        jobs = [(path, folder / f"{path.stem}.o", have) for path in shared]
        jobs += [(path, folder / f"{path.stem}_program.o", have) for path in sources]
        for isa in isas:
            options = [f"-DSPINECORE_ISA=isa_{isa}", "-ffp-contract=fast", "-fno-exceptions", "-fno-rtti"]
            options += [*ISA_FLAGS[isa], *(["-O0"] if isa in only_linked else [])]
            kernels = sorted((ROOT / "csrc/cpu/kernels").glob("*.cpp"))
            jobs += [(path, folder / f"{path.stem}_{isa}.o", options) for path in kernels]

        def compile_one(job: tuple[Path, Path, list[str]]) -> str:
            source, target, options = job
            command = [*common, *options, "-c", str(source), "-o", str(target)]
            return subprocess.run(command, capture_output=True, text=True, check=False).stderr

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            complaints = [text for text in pool.map(compile_one, jobs) if "error" in text]
        assert not complaints, complaints[0]
        program = folder / "program"
        objects = [str(job[1]) for job in jobs]
        subprocess.run([compiler, *flags, *objects, "-o", str(program), "-lpthread"], check=True)
        return program

    return build
