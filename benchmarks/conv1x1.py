"""The cases of `spinecore.bench.cases.conv1x1` under pytest-benchmark."""

from __future__ import annotations

from spinecore.bench.case import Call
from spinecore.bench.cases.conv1x1 import CASES

__all__ = ["CASES"]


def test_conv1x1(benchmark, call: Call) -> None:  # type: ignore[no-untyped-def]
    benchmark(call)
