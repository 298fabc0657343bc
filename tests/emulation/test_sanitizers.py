"""The CUDA sources on the CPU under ASan, UBSan and TSan; a barrier or fence taken out must be noticed."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from emulation import sources

CUDA = sources.ROOT / "csrc/cuda"
OPERATORS = sorted(path.stem for path in (sources.HERE / "drivers").glob("*.cpp"))
QUICK = ("covariance_decorrelation", "scse_gate")
MARKED = [name if name in QUICK else pytest.param(name, marks=pytest.mark.gpu_less) for name in OPERATORS]
# Sources of which an operator uses a part: the covariance penalty uses all of them but what tensor cores
# need, which the convolution uses.
_PRODUCTS = {"column_statistics.cuh", "product.cuh"}
ELSEWHERE = {
    "latent_pool": _PRODUCTS,
    "dictionary_pool": _PRODUCTS,
    "conv3x3": {"product.cuh:keep_tile", "block_sums.cuh"},
    "covariance_decorrelation": {"product.cuh:arrange"},
    "cross_decorrelation": {*_PRODUCTS, "penalty_sums.cuh"},
}
FUNCTION = re.compile(r"^__(?:device|global)__.*?(\w+)\(")
SYNCHRONISATION = re.compile(r"__syncthreads\(\)|__threadfence\(\)|__syncwarp\(|\bwait_copies<.*>\(\);")


@cache
def program(operator: str, sanitizer: str) -> Path:
    inputs = [*sources.kernel_sources(operator), sources.HERE / f"drivers/{operator}.cpp"]
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
    elsewhere = ELSEWHERE.get(operator, set())
    found, todo = [], sources.kernel_sources(operator)
    seen = set(todo)
    while todo:
        path, function = todo.pop(), ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if match := FUNCTION.match(line):
                function = match[1]
            if SYNCHRONISATION.search(line) and not {path.name, f"{path.name}:{function}"} & elsewhere:
                found.append(f"{path.name}:{number}")
            if match := re.match(r'#include "(\w+\.cuh)"', line):
                included = CUDA / match[1]
                if included not in seen:
                    seen.add(included)
                    todo.append(included)
    return sorted(found)


@pytest.mark.parametrize("operator", MARKED)
def test_no_byte_out_of_bounds_and_no_undefined_behaviour(operator: str) -> None:
    done = run(operator, "address")
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("operator", MARKED)
def test_no_race_between_threads_or_blocks(operator: str) -> None:
    done = run(operator, "thread", EMULATION_WORKERS="3")
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.gpu_less
@pytest.mark.parametrize(("operator", "site"), [(op, site) for op in OPERATORS for site in sites(op)])
def test_every_barrier_and_fence_is_needed(operator: str, site: str) -> None:
    """Without it TSan finds a race, or the emulation a barrier that not all threads reach; without the wait
    for copies the results are not finite.
    """
    done = run(operator, "thread", "quick", EMULATION_WORKERS="3", EMULATION_WITHOUT=site)
    assert done.returncode != 0, f"nothing notices that {site} is missing"
    noticed = ("data race", "CUDA emulation", "not finite")
    assert any(words in done.stdout + done.stderr for words in noticed), done.stderr[-4000:]
