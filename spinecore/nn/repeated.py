"""A prepared form that records its run for a shape when it meets it again, and then repeats the record."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from spinecore.ops.recording import Plan, Recording, image

Outputs = tuple[Tensor | None, ...]
Key = tuple[tuple[int, ...], int]

_KEPT = 4
_LARGEST = 1 << 22
"""Elements of the input; above, what Python takes between the kernels is nothing, and the arena large."""


class Repeated:
    """Calls `form` with an image (N, C, H, W); from the second call of a shape on without Python between the
    kernels.

    Args:
        form: from one channels-last float32 image to its outputs, whose calls all go through
            `spinecore.ops.recording.run` and that looks at no value of a tensor itself.

    """

    def __init__(self, form: Callable[[Tensor], Outputs]) -> None:
        self._form = form
        self._plans: OrderedDict[Key, Plan | None] = OrderedDict()  # None: seen once
        self._changes = threading.Lock()

    def __call__(self, x: Tensor) -> Outputs:
        """What `form` gives."""
        key = (tuple(x.shape), torch.get_num_threads())
        plan = self._plans.get(key)
        if plan is None and key in self._plans and x.numel() <= _LARGEST:
            plan = self._record(x)
        self._keep(key, plan)
        outputs = None if plan is None else plan.run((x,))
        return self._form(x.contiguous(memory_format=torch.channels_last)) if outputs is None else outputs

    def _keep(self, key: Key, plan: Plan | None) -> None:
        with self._changes:
            self._plans[key] = plan
            self._plans.move_to_end(key)
            if len(self._plans) > _KEPT:
                self._plans.popitem(last=False)

    def _record(self, x: Tensor) -> Plan:
        # The arena outlives the mode it is made in.
        with torch.inference_mode(False), torch.no_grad(), Recording() as recording:
            entry = image(*x.shape)
            outputs = self._form(entry)
            return recording.plan((entry,), outputs)
