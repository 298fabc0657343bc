"""What needs a process of its own: refused launches, compute-sanitizer, and these tests without a GPU."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_checks import driver
from gpu_checks.operators import WITH_KERNELS
from gpu_checks.processors import Processor

from spinecore import backends

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATH = {"PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parent / "emulation")))}
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | PATH | environment
    )


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--device"))


def test_a_refused_launch_is_an_exception(device: str) -> None:
    """It names operator, shape and CUDA's reason."""
    done = run(sys.executable, "-m", "gpu_checks.refused_launch", "--device", device)
    assert "RuntimeError: conv3x3_forward" in done.stdout, done.stdout + done.stderr
    assert "N, C, H, W = 2, 4, 5, 3 and 6 channels" in done.stdout
    assert "CUDA could not launch the convolution: cudaError" in done.stdout


def test_the_driver_runs_every_operator(backend: str, first: Processor) -> None:
    backends.reset_usage()
    assert driver.run(first, backend) >= 2 * len(WITH_KERNELS)
    for name in WITH_KERNELS:
        assert set(backends.usage()[name]) == set(backends.usage()[f"{name}_backward"]) == {backend}


def sanitizer() -> str | None:
    return shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")


def sanitized(program: str, tool: str, device: str, backend: str) -> subprocess.CompletedProcess[str]:
    """The driver under one of the tools; memory is not pooled, so that each tensor has bounds of its own."""
    command = [program, "--tool", tool, "--error-exitcode", "9", "--target-processes", "all"]
    command += [sys.executable, "-m", "gpu_checks.driver", "--device", device, "--backend", backend]
    return run(*command, PYTORCH_NO_CUDA_MEMORY_CACHING="1")


@pytest.mark.gpu
@pytest.mark.parametrize("tool", TOOLS)
def test_under_compute_sanitizer(tool: str, backend: str, device: str) -> None:
    program = sanitizer()
    if program is None:
        pytest.skip("no compute-sanitizer")
    done = sanitized(program, tool, device, backend)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert f"operators on {backend}" in done.stdout


def test_what_the_sanitizer_is_given_to_run(tmp_path: Path, device: str, backend: str) -> None:
    """With a program in its place that runs what follows the options, and one that finds an error."""
    works, fails = tmp_path / "works", tmp_path / "fails"
    works.write_text('#!/bin/sh\n[ "$1 $2" = "--tool memcheck" ] || exit 3\nshift 6\nexec "$@"\n')
    fails.write_text("#!/bin/sh\nexit $4\n")
    for program in (works, fails):
        program.chmod(0o755)
    done = sanitized(str(works), "memcheck", device, backend)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"operators on {backend}" in done.stdout
    assert sanitized(str(fails), "memcheck", device, backend).returncode == 9


def test_a_missing_gpu_is_an_error_and_no_skip() -> None:
    """Whatever this machine has: the process sees no device."""
    done = run(sys.executable, "-m", "pytest", "-q", "tests/gpu", "--device", "cuda", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "--device cuda: torch finds no CUDA device" in done.stderr


@pytest.mark.gpu_less
def test_the_triton_kernels_stand_in_too(device: str) -> None:
    """These tests with Triton's interpreter, on the CPU."""
    if device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        return  # this is that process, or the kernels run on the GPU itself
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    done = run(*command, "-k", "properties or every_device or stream or graph_computes", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-6000:]
    assert "passed" in done.stdout
