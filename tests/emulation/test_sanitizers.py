"""The CUDA sources on the CPU under ASan, UBSan and TSan; a barrier or fence taken out must be noticed."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from emulation import ptx, sources
from emulation.ptx_translate import translate

CUDA = sources.ROOT / "csrc/cuda"
OPERATORS = sorted(path.stem for path in (sources.HERE / "drivers").glob("*.cpp"))
PTX_KERNELS = {"scse_gate": ("IfLb1ELi8E", "contiguousIfLb1E", "apply_gatesIfLi4E")}
SYNCHRONISATION = re.compile(r"__syncthreads\(\)|__threadfence\(\)|__syncwarp\(")


@cache
def program(operator: str, sanitizer: str) -> Path:
    inputs = [CUDA / f"{operator}.cu", sources.HERE / f"drivers/{operator}.cpp"]
    objects = [sources.compiled(path, sanitizer=sanitizer) for path in inputs]
    return sources.linked(f"{operator}_{sanitizer}", objects, sanitizer=sanitizer)


def run(
    operator: str, sanitizer: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    options = {
        "TSAN_OPTIONS": "exitcode=66:halt_on_error=1",
        "ASAN_OPTIONS": "detect_stack_use_after_return=0",
    }
    command = [str(program(operator, sanitizer)), *arguments]
    variables = {**os.environ, **options, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def sites(operator: str) -> list[str]:
    """file:line of every barrier and fence that the operator's source includes."""
    found, todo = [], [CUDA / f"{operator}.cu"]
    seen = set(todo)
    while todo:
        path = todo.pop()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if SYNCHRONISATION.search(line):
                found.append(f"{path.name}:{number}")
            if match := re.match(r'#include "(\w+\.cuh)"', line):
                included = CUDA / match[1]
                if included not in seen:
                    seen.add(included)
                    todo.append(included)
    return sorted(found)


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_byte_out_of_bounds_and_no_undefined_behaviour(operator: str) -> None:
    done = run(operator, "address")
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_race_between_threads_or_blocks(operator: str) -> None:
    done = run(operator, "thread", EMULATION_WORKERS="3")
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize(("operator", "site"), [(op, site) for op in OPERATORS for site in sites(op)])
def test_every_barrier_and_fence_is_needed(operator: str, site: str) -> None:
    """Without it TSan finds a race, or the emulation a barrier that not all threads reach."""
    done = run(operator, "thread", "quick", EMULATION_WORKERS="3", EMULATION_WITHOUT=site)
    assert done.returncode != 0, f"nothing notices that {site} is missing"
    assert "data race" in done.stderr or "CUDA emulation" in done.stderr, done.stderr[-4000:]


@cache
def ptx_program(operator: str) -> Path:
    """The driver over what nvcc emitted for float32, under TSan."""
    kernels = ptx.translated(
        ptx.emitted(operator).read_text(), f"{operator}_tsan", PTX_KERNELS[operator], sanitizer="thread"
    )
    flags = ["-DEMULATION_PTX"]
    inputs = [CUDA / f"{operator}.cu", sources.HERE / f"drivers/{operator}.cpp"]
    objects = [sources.compiled(path, flags, sanitizer="thread") for path in inputs]
    return sources.linked(f"{operator}_ptx", [*objects, kernels], ["-rdynamic"], sanitizer="thread")


def ptx_sites(operator: str) -> list[str]:
    """kernel:number of every barrier and fence of the translated kernels."""
    text = translate(ptx.emitted(operator).read_text(), PTX_KERNELS[operator])
    return [f"{name}:{number}" for name, number in re.findall(r'(?:barrier|fence)\("(\w+)", (\d+)\)', text)]


@pytest.mark.gpu_less
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_barrier_and_fence_that_nvcc_emits_is_needed(operator: str) -> None:
    """Or is never come by: nvcc copies code for cases that these shapes do not have."""
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    options = {"TSAN_OPTIONS": "exitcode=66:halt_on_error=1", "EMULATION_WORKERS": "3"}

    def run_without(site: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ptx_program(operator)), "quick"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **options, "EMULATION_WITHOUT": site, "EMULATION_TELL": "1"},
        )

    clean = run_without("none:0")
    assert clean.returncode == 0, clean.stderr[-4000:]
    unnoticed = []
    for site in ptx_sites(operator):
        done = run_without(site)
        if done.returncode == 0 and "took out" in done.stderr:
            unnoticed.append(site)
    assert unnoticed == []
