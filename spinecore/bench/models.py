"""A formula as a model with parameters, and quiet for those who compile or export it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spinecore.bench.case import Inputs

Formula = Callable[..., Any]


def in_layout(value: Any, layout: str) -> Any:
    """A four-dimensional tensor in the layout (``nchw`` or ``nhwc``); anything else as it is."""
    if layout == "nhwc" and isinstance(value, Tensor) and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value


class Model(nn.Module):
    """A formula whose parameters are those of a model: constants to a compiler that freezes or exports it."""

    def __init__(self, formula: Formula, parameters: Sequence[Tensor]) -> None:
        super().__init__()
        self.formula = formula
        self.constants = nn.ParameterList(nn.Parameter(p, requires_grad=False) for p in parameters)

    def forward(self, *given: Tensor) -> Any:
        """The formula of what is given and the parameters."""
        return self.formula(*given, *self.constants)


def as_model(
    formula: Formula, inputs: Inputs, layout: str, leading: int
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The model of a formula, its parameters in the layout, and the inputs that change from call to call."""
    given = [in_layout(value, layout) for value in inputs()]
    return Model(formula, given[leading:]).eval(), tuple(given[:leading])


class quiet_libraries:  # noqa: N801 - used as a function
    """Exporters and compilers talk; what goes wrong in them arrives as an exception all the same."""

    def __enter__(self) -> None:
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore")
        self._before = logging.root.manager.disable
        logging.disable(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
        self._caught.__exit__(None, None, None)
