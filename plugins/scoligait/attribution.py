"""What moved a score: columns of the map by integrated gradients, whole modalities by leaving them out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .kinematics import COLUMNS
from .network import ScoliGait

STEPS = 12


class Attribution(NamedTuple):
    """`columns` (238,) parts of the logit of "positive" minus that of the mean training walk's map; `without`
    what leaving a modality out takes from the probability.
    """

    columns: NDArray[np.float64]
    without: dict[str, float]


def attribute(model: ScoliGait, present: Tensor, valid: Tensor, *inputs: Tensor) -> Attribution:
    """Of one clip. Gradients along the straight line from the mean map (Sundararajan et al. 2017), 12
    steps.
    """
    model.eval()
    named = dict(zip(model.config.modalities, inputs, strict=True))
    columns = np.zeros(len(COLUMNS))
    if "map" in named and bool(present[0, model.config.modalities.index("map")]):
        named["map"] = model.map.standard(named["map"])
        end = named["map"]
        share = ((torch.arange(STEPS) + 0.5) / STEPS).view(-1, 1, 1)
        path = (share * end).requires_grad_(True)
        batch = {k: v.expand(STEPS, *v.shape[1:]) for k, v in named.items()} | {"map": path}
        out = model.from_standard(present.expand(STEPS, -1), valid.expand(STEPS, -1), batch)
        (slope,) = torch.autograd.grad((out.logits[:, 1] - out.logits[:, 0]).sum(), path)
        columns = (slope.mean(0) * end[0]).sum(0).double().numpy()
    without: dict[str, float] = {}
    with torch.no_grad():
        whole = _probability(model, present, valid, inputs)
        for number, name in enumerate(model.config.modalities):
            left = present.clone()
            left[:, number] = False
            if bool(present[0, number]) and bool(left.any()):
                without[name] = whole - _probability(model, left, valid, inputs)
    return Attribution(columns, without)


def _probability(model: ScoliGait, present: Tensor, valid: Tensor, inputs: tuple[Tensor, ...]) -> float:
    return float(model(present, valid, *inputs).logits.softmax(-1)[0, 1])
