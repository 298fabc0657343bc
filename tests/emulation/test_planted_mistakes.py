"""The tools find planted mistakes, in the source and in the PTX of nvcc, and nothing where there is none."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from emulation import ptx, sources

PLANTED = sources.HERE / "planted"
# What must be found, by what: the emulation's own checks and results ("plain"), or a sanitizer.
FOUND_BY = {
    "out_of_bounds": "address",
    "shared_out_of_bounds": "address",
    "missing_barrier": "thread",
    "missing_warp_barrier": "thread",
    "race_between_blocks": "thread",
    "missing_fence": "thread",
    "divergent_barrier": "plain",
    "skipped_barrier": "plain",
    "wrong_mask": "plain",
    "missing_wait": "plain",
    "uninitialised_shared": "plain",
}
COMPLAINTS = {
    "divergent_barrier": "divergent __syncthreads",
    "skipped_barrier": "different operations|deadlock|has exited",
    "wrong_mask": "deadlock|has exited|different operations",
}


@cache
def emitted() -> str:
    compiler = ptx.nvcc()
    assert compiler, "nvcc is needed"
    make = [
        compiler,
        "-std=c++17",
        "-arch=compute_80",
        "-ptx",
        f"-I{PLANTED}",
        str(PLANTED / "kernels.cu"),
        "-o",
        "{}",
    ]
    key = [path.read_bytes() for path in sorted(PLANTED.iterdir())]
    return sources.cached("planted.ptx", key, make).read_text()


@cache
def program(sanitizer: str, from_ptx: bool) -> Path:
    flags = [f"-I{PLANTED}", *(["-DEMULATION_PTX"] if from_ptx else [])]
    objects = [sources.compiled(PLANTED / name, flags, sanitizer) for name in ("kernels.cu", "main.cpp")]
    link = []
    if from_ptx:
        objects.append(ptx.translated(emitted(), "planted", sanitizer=sanitizer))
        link = ["-rdynamic"]
    return sources.linked("planted", objects, link, sanitizer)


def run(kernel: str, form: str, tool: str, from_ptx: bool) -> subprocess.CompletedProcess[str]:
    sanitizer = "" if tool == "plain" else tool
    options = {"TSAN_OPTIONS": "exitcode=66", "EMULATION_WORKERS": "2"}
    command = [str(program(sanitizer, from_ptx)), kernel, form]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | options)


def kinds() -> list[bool]:
    return [False, True] if ptx.nvcc() else [False]


@pytest.mark.parametrize("from_ptx", kinds(), ids=lambda from_ptx: "ptx" if from_ptx else "source")
@pytest.mark.parametrize("kernel", FOUND_BY)
def test_a_planted_mistake_is_found(kernel: str, from_ptx: bool) -> None:
    tool = FOUND_BY[kernel]
    if from_ptx and kernel == "shared_out_of_bounds":
        tool = "plain"  # the translation checks every access to shared memory itself
    right, wrong = (run(kernel, form, tool, from_ptx) for form in ("right", "wrong"))
    assert right.returncode == 0, right.stdout + right.stderr
    if kernel in COMPLAINTS:
        assert wrong.returncode == 3
        assert re.search(COMPLAINTS[kernel], wrong.stdout)
    elif tool == "thread":
        assert "data race" in wrong.stderr
    elif tool == "address":
        assert re.search("AddressSanitizer|out of bounds", wrong.stderr)
    elif from_ptx and kernel == "shared_out_of_bounds":
        assert "shared memory access of 4 bytes at 256 of 256" in wrong.stdout
    else:
        assert wrong.stdout != right.stdout


@pytest.mark.gpu_less
@pytest.mark.parametrize("from_ptx", kinds(), ids=lambda from_ptx: "ptx" if from_ptx else "source")
@pytest.mark.parametrize("tool", ["plain", "address", "thread"])
def test_nothing_is_found_where_nothing_is_wrong(tool: str, from_ptx: bool) -> None:
    for kernel in FOUND_BY:
        done = run(kernel, "right", tool, from_ptx)
        assert done.returncode == 0, f"{kernel}: {done.stdout}{done.stderr[-2000:]}"
