"""benchmarks/budgets.json, computed anew: nothing may worsen, and what is better is recorded."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
from emulation import budgets, ptx, resources

from spinecore import _native
from spinecore.ops import _device

RECORDED = json.loads(budgets.PATH.read_text())
UPDATE = "run `python -m emulation.budgets` in tests/emulation and look at the difference"
QUICK = 80


@pytest.fixture(autouse=True)
def with_nvcc() -> None:
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")


@pytest.mark.parametrize(
    "architecture",
    [
        arch if arch == QUICK else pytest.param(arch, marks=pytest.mark.gpu_less)
        for arch in resources.ARCHITECTURES
    ],
)
def test_registers_shared_memory_and_occupancy(architecture: int) -> None:
    """As recorded for this version of nvcc; no kernel may spill on any."""
    now = budgets.compiled(architecture)
    for operator, kernels in now.items():
        assert [name for name, kernel in kernels.items() if kernel["spills"]] == [], operator
    assert now == RECORDED["compiled"][f"sm_{architecture}"], UPDATE


@pytest.mark.gpu_less
@pytest.mark.parametrize("operator", budgets.OPERATORS)
def test_bytes_sectors_and_bank_conflicts(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
    now = budgets.memory(operator, lambda module: monkeypatch.setattr(_native, "core", lambda: module))
    assert now == RECORDED["memory"][operator], UPDATE


@pytest.mark.gpu_less
@pytest.mark.parametrize("operator", budgets.THREADS)
def test_the_code_of_sm_86_is_that_of_sm_89(operator: str) -> None:
    """So that a package without the latter, which runs the former's, loses nothing."""
    assert resources.machine_code(operator, 86) == resources.machine_code(operator, 89)
    assert resources.machine_code(operator, 86) != resources.machine_code(operator, 80)


def test_the_limits_hold_or_have_a_reason() -> None:
    """1.15 times the least bytes, 1.25 times the ideal sectors, two ways; beyond it the file says why."""
    reasons = RECORDED["reasons"]
    for operator, cases in RECORDED["memory"].items():
        for case, figures in cases.items():
            if case == "shape":
                continue
            over = [f"bytes, {case}"] if figures["bytes over the least"] > 1.15 else []
            over += [
                f"sectors, {name}"
                for name, ratio in figures["sectors over the ideal"].items()
                if ratio > 1.25
            ]
            over += [f"ways, {name}" for name, ways in figures["bank ways"].items() if ways > 2]
            for what in over:
                assert f"{operator}: {what}" in reasons, (
                    f"{operator}: {what} is over its limit without a reason"
                )


def test_the_occupancy_calculator_knows_the_textbook_cases() -> None:
    """256 threads: 32 registers fill an H100, 64 half of it; 100 KiB of shared memory leave two blocks."""
    cases = [(32, 0, 1.0), (64, 0, 0.5), (32, 100 * 1024, 0.25)]
    kernels = {str(i): {"registers": r, "shared": s} for i, (r, s, _) in enumerate(cases)}
    assert resources.occupancies(90, 256, kernels) == [share for _, _, share in cases]
