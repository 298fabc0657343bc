"""The cases of `spinecore.bench.cases.scse_gate` under pytest-benchmark."""

from __future__ import annotations

from spinecore.bench.case import Call
from spinecore.bench.cases.scse_gate import CASES

__all__ = ["CASES"]


def test_scse_gate(benchmark, call: Call) -> None:  # type: ignore[no-untyped-def]
    benchmark(call)
