"""The cases of `spinecore.bench.cases.recurrent_residual_conv` under pytest-benchmark."""

from __future__ import annotations

from spinecore.bench.case import Call
from spinecore.bench.cases.recurrent_residual_conv import CASES

__all__ = ["CASES"]


def test_recurrent_residual_conv(benchmark, call: Call) -> None:  # type: ignore[no-untyped-def]
    benchmark(call)
