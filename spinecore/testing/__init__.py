"""Checks that our tests and anybody's run: comparators that calibrate themselves, operator runs with
gradients, plugin conformance.
"""

from __future__ import annotations

from spinecore.testing.comparators import (
    VectorError,
    assert_calibrated,
    assert_gradient_close,
    perturb,
    vector_error,
)
from spinecore.testing.operators import (
    backward_arguments,
    cast_arguments,
    check_against_formula,
    leaves,
    outputs_and_gradients,
    runnable_backends,
)
from spinecore.testing.plugins import check_plugin

__all__ = [
    "VectorError",
    "assert_calibrated",
    "assert_gradient_close",
    "backward_arguments",
    "cast_arguments",
    "check_against_formula",
    "check_plugin",
    "leaves",
    "outputs_and_gradients",
    "perturb",
    "runnable_backends",
    "vector_error",
]
