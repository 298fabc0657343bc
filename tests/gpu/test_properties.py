"""Any shape, layout, dtype, mask and mode of every operator, both directions, against double precision."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_checks import operators
from gpu_checks.operators import PROPERTIES
from gpu_checks.processors import Processor
from hypothesis import given, settings
from torch.utils import _pytree as pytree


@pytest.mark.parametrize("family", PROPERTIES)
def test_any_case_matches_the_formulas_in_float64(
    family: str, backend: str, first: Processor, nan_memory: None
) -> None:
    cases, check = PROPERTIES[family]

    @settings(max_examples=first.examples, deadline=None, database=None)
    @given(case=cases(first.large))
    def holds(case: Any) -> None:
        check(case, backend, first)

    holds()


@pytest.mark.parametrize("family", PROPERTIES)
def test_the_oracle_rejects_a_wrong_result(family: str, backend: str, first: Processor) -> None:
    """A kernel whose results are off by a tenth fails, in every family."""
    cases, check = PROPERTIES[family]
    honest = operators.on

    def wrong(processor: Processor, run: Any) -> Any:
        moved = honest(processor, run)

        def off(*args: Any) -> Any:
            return pytree.tree_map(
                lambda v: v * 1.1 + 0.1 if hasattr(v, "dtype") and v.is_floating_point() else v, moved(*args)
            )

        return off

    @settings(max_examples=1, deadline=None, database=None)
    @given(case=cases(False))
    def fails(case: Any) -> None:
        operators.on = wrong
        try:
            with pytest.raises(AssertionError):
                check(case, backend, first)
        finally:
            operators.on = honest

    fails()
