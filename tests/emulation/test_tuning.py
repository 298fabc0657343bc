"""Tuning of the Triton kernels on request, with a clock of our own in the place of a GPU's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

import triton

from spinecore.kernels import _launch, conv3x3, scse_gate, tuning

Launches = list[dict[str, int]]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Launches]:
    """Of a GPU of sm_80, recorded instead of run."""
    found: Launches = []
    monkeypatch.setattr(
        _launch, "launch", lambda _k, _g, _a, constants, warps: found.append(constants | {"warps": warps})
    )
    monkeypatch.setattr(_launch, "architecture_of", lambda _x: 80)
    yield found
    tuning.forget()


def gate() -> None:
    x, w, ws = torch.zeros(1, 64, 16, 16), torch.zeros(64, 8), torch.zeros(64)
    scse_gate.forward(x, w.T.contiguous(), None, w, None, ws, None, "add")


def convolve() -> None:
    x = torch.zeros(1, 16, 4, 4).contiguous(memory_format=torch.channels_last)
    conv3x3.run(x, torch.zeros(16, 9, 16), *[None] * 5, False, True, False, False)


def costing(launches: Launches, of: Callable[[dict[str, int]], float]) -> tuning.Timer:
    def timer(call: Callable[[], object]) -> float:
        launches.clear()
        call()
        return sum(map(of, launches))

    return timer


def test_without_asking_nothing_changes(launches: Launches) -> None:
    gate()
    assert _launch.tuned == {}
    shipped = _launch.configurations()["scse_gate"]["apply"]["80"]
    assert launches[-1]["warps"] == shipped["num_warps"]


def test_the_cheapest_candidate_is_used_from_then_on(launches: Launches) -> None:
    def size(launch: dict[str, int]) -> float:
        return launch["BLOCK_C"] * launch["BLOCK_P"] + launch["warps"]

    shipped = _launch.configurations()["scse_gate"]["apply"]
    chosen = tuning.tune(gate, costing(launches, size))
    smallest = {"elements": 1024, "num_warps": 4}
    assert chosen == {("scse_gate", kernel, 80): smallest for kernel in ("reduce", "apply")}
    launches.clear()
    gate()
    assert {launch["warps"] for launch in launches} == {4}
    assert _launch.configuration("scse_gate", "apply", 90) == shipped["90"]
    tuning.forget()
    assert _launch.configuration("scse_gate", "apply", 80) == shipped["80"]


def test_at_a_tie_nothing_moves(launches: Launches) -> None:
    fixed = _launch.configuration("conv3x3", "products", 80)
    assert tuning.tune(convolve, lambda _call: 1.0) == {("conv3x3", "products", 80): fixed}


def test_what_does_not_fit_is_left_out(launches: Launches) -> None:
    """And what is in use meanwhile is put back if the timer fails."""

    def timer(call: Callable[[], object]) -> float:
        launches.clear()
        call()
        if launches[-1]["DEPTH"] == 32:
            raise triton.runtime.errors.OutOfResources(200_000, 100_000, "shared memory")
        return launches[-1]["warps"]

    assert tuning.tune(convolve, timer) == {("conv3x3", "products", 80): {"depth": 16, "num_warps": 4}}
    before = dict(_launch.tuned)
    with pytest.raises(ZeroDivisionError):
        tuning.tune(convolve, lambda _call: 1 / 0)
    assert _launch.tuned == before


def test_a_call_without_kernels_is_refused() -> None:
    with pytest.raises(ValueError, match="launched no Triton kernel"):
        tuning.tune(lambda: None, lambda _call: 0.0)


def test_what_was_tuned_is_kept_in_a_file(launches: Launches, tmp_path: Path) -> None:
    tuning.tune(convolve, costing(launches, lambda launch: -launch["warps"] - launch["DEPTH"]))
    tuning.save(tmp_path / "tuned.json")
    program = "from spinecore.kernels import _launch as k; print(k.configuration('conv3x3', 'products', 80))"
    environment = os.environ | {"SPINECORE_TRITON_CONFIGURATIONS": str(tmp_path / "tuned.json")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "{'depth': 32, 'num_warps': 8}", done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "FileNotFoundError"),
        ("{", "JSONDecodeError"),
        ('{"conv3x3": {"products": {"80": {"depth": 24, "num_warps": 4}}}}', "powers of two"),
        ('{"conv3x3": {"products": {"80": {"elements": 64, "num_warps": 4}}}}', "is not like"),
        ('{"conv4x4": {"products": {"80": {"depth": 16, "num_warps": 4}}}}', "conv4x4"),
    ],
)
def test_a_wrong_file_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=words) as raised:
        _launch._from_file(str(path))
    assert f"SPINECORE_TRITON_CONFIGURATIONS={path}" in str(raised.value)
