"""pytest-benchmark over the cases of the package: `pytest benchmarks/scse_gate.py`, every backend and peer a
parameter. Wall clock, one variant after another: for a close look. Ratios are measured by run.py, in turns.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from spinecore.bench.case import Call, Case, Shape, Unavailable, relative_error, results_of
from spinecore.bench.timing import keep_memory, one_thread


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "call" not in metafunc.fixturenames:
        return
    rows = [
        pytest.param((case, shape, name), id=f"{case.name}-{','.join(map(str, shape))}-{name}")
        for case in metafunc.module.CASES
        for shape in case.shapes
        for name in case.problem(shape).variants
    ]
    metafunc.parametrize("call", rows, indirect=True)


@pytest.fixture
def call(request: pytest.FixtureRequest, benchmark: object) -> Iterator[Call]:
    case, shape, name = request.param
    benchmark.group = f"{case.operator} {case.name} {shape}"  # type: ignore[attr-defined]
    keep_memory()
    torch.compiler.reset()
    with one_thread():
        yield checked(case, shape, name)


def checked(case: Case, shape: Shape, name: str) -> Call:
    problem = case.problem(shape)
    variant = problem.variants[name]
    try:
        call = variant.build()
    except Unavailable as reason:
        pytest.skip(str(reason))
    error = relative_error(results_of(call()), results_of(problem.expected()))
    assert error <= max(case.tolerance, variant.tolerance), f"{name}: relative error {error:.1e}"
    return call
