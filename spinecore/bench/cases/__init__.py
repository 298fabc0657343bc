"""The cases of every operator, one file an operator, each with a list ``CASES``."""

from __future__ import annotations

import importlib

from spinecore.bench.case import Case

OPERATORS = (
    "recurrent_residual_conv",
    "recurrent_residual_conv_bn",
    "conv3x3",
    "conv1x1",
    "scse_gate",
    "latent_attention_pool",
    "covariance_decorrelation",
)
"""In the order of the table."""


def cases_of(operator: str) -> list[Case]:
    """The cases of one operator; ``ValueError`` names the operators there are."""
    if operator not in OPERATORS:
        raise ValueError(f"no benchmark of {operator!r}; there are {', '.join(OPERATORS)}")
    found: list[Case] = importlib.import_module(f"spinecore.bench.cases.{operator}").CASES
    return found
