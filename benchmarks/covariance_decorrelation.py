"""The cases of `spinecore.bench.cases.covariance_decorrelation` under pytest-benchmark."""

from __future__ import annotations

from spinecore.bench.case import Call
from spinecore.bench.cases.covariance_decorrelation import CASES

__all__ = ["CASES"]


def test_covariance_decorrelation(benchmark, call: Call) -> None:  # type: ignore[no-untyped-def]
    benchmark(call)
