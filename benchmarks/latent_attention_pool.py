"""The cases of `spinecore.bench.cases.latent_attention_pool` under pytest-benchmark."""

from __future__ import annotations

from spinecore.bench.case import Call
from spinecore.bench.cases.latent_attention_pool import CASES

__all__ = ["CASES"]


def test_latent_attention_pool(benchmark, call: Call) -> None:  # type: ignore[no-untyped-def]
    benchmark(call)
