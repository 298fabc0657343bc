"""The ways others compute a formula, each at its best setting, and ours through the operator's backends.

A formula is a function of tensors in plain PyTorch. Every builder takes ``inputs``, which draws its arguments
anew or from a cache: first the ones that change from call to call (``leading`` of them), then the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from spinecore.bench.case import CONTEXT, OURS, PEER, Call, Inputs, Kind, Variant
from spinecore.bench.models import Formula, as_model, in_layout, quiet_libraries
from spinecore.bench.runtimes import onnxruntime, openvino


def _without_gradient(function: Callable[..., Any], given: Sequence[Any]) -> Call:
    def call() -> Any:
        with torch.no_grad():
            return function(*given)

    return call


def inference(
    formula: Formula,
    inputs: Inputs,
    *,
    layouts: Sequence[str] = ("",),
    leading: int = 1,
    family: str = "",
    runtimes: bool = True,
    max_autotune: bool = True,
) -> dict[str, Variant]:
    """Eager and compiled with frozen parameters in every layout, max-autotune in the last, ONNX Runtime and
    OpenVINO.

    ``family`` marks a formula that is a peer of its own (say ``hand-written``), which the names then show.
    """
    prefix = f"{family} " if family else ""
    found: dict[str, Variant] = {}

    def add(name: str, kind: str, build: Callable[[], Call]) -> None:
        found[f"{prefix}{name}".strip()] = Variant(build, PEER, family or kind)

    given = (formula, inputs)

    for at in layouts:
        add(f"eager {at}".strip(), "eager", partial(_eager, *given, at, leading))
        add(f"compile {at}".strip(), "compile", partial(_compiled, *given, at, leading))
    if max_autotune:
        best = layouts[-1]
        build = partial(_compiled, *given, best, leading, max_autotune=True)
        add(f"compile max-autotune {best}".strip(), "compile", build)
    if runtimes:
        add("onnxruntime", "onnxruntime", partial(onnxruntime, *given, leading))
        add("openvino", "openvino", partial(openvino, *given, leading))
    return found


def _eager(formula: Formula, inputs: Inputs, layout: str, leading: int) -> Call:
    model, given = as_model(formula, inputs, layout, leading)
    return _without_gradient(model, given)


def _compiled(
    formula: Formula, inputs: Inputs, layout: str, leading: int, max_autotune: bool = False
) -> Call:
    import torch._inductor.config as inductor

    model, given = as_model(formula, inputs, layout, leading)
    compiled = torch.compile(model, dynamic=False)
    call = _without_gradient(compiled, given)
    settings: dict[str, Any] = {
        "freezing": True,
        "max_autotune": max_autotune,
        "autotune_num_choices_displayed": 0,
    }
    with quiet_libraries(), inductor.patch(**settings):
        call()
    return call


def autocast(formula: Formula, inputs: Inputs, layout: str, leading: int = 1) -> Call:
    """Eager float32 tensors under bfloat16 autocast."""
    model, given = as_model(formula, inputs, layout, leading)

    def call() -> Any:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return model(*given)

    return call


def medium(variants: Mapping[str, Variant]) -> dict[str, Variant]:
    """The same variants under ``torch.set_float32_matmul_precision("medium")``, which nothing else sees."""
    return {
        f"medium {name}": Variant(
            partial(_built_with_medium, variant.build),
            variant.kind,
            "medium" if variant.family in ("eager", "compile") else f"{variant.family} medium",
        )
        for name, variant in variants.items()
    }


def _built_with_medium(build: Callable[[], Call]) -> Call:
    return _with_medium(_with_medium(build)())


def _with_medium(function: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            return function()
        finally:
            torch.set_float32_matmul_precision(before)

    return run


def training(
    formula: Formula,
    inputs: Inputs,
    *,
    layouts: Sequence[str] = ("",),
    family: str = "",
    compiled: bool = True,
) -> dict[str, Variant]:
    """Forward and backward, eager and compiled, in every layout."""
    prefix = f"{family} " if family else ""
    found: dict[str, Variant] = {}
    for at in layouts:
        build = partial(forward_backward, formula, inputs, at)
        found[f"{prefix}eager {at}".strip()] = Variant(build, PEER, family or "eager")
        if compiled:
            build = partial(forward_backward, torch.compile(formula, dynamic=False), inputs, at)
            found[f"{prefix}compile {at}".strip()] = Variant(build, PEER, family or "compile")
    return found


def forward_backward(
    function: Callable[..., Any],
    inputs: Inputs,
    layout: str = "",
    autocast_dtype: torch.dtype | None = None,
) -> Call:
    """A call that returns the differentiable results of ``function`` and a gradient for each floating-point
    input, pulled back from fixed random numbers (from one where the result is a scalar).
    """
    leaves = [
        in_layout(value, layout).detach().requires_grad_()
        if isinstance(value, Tensor) and value.is_floating_point()
        else value
        for value in inputs()
    ]
    wanted = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]

    def run() -> list[Tensor]:
        with torch.autocast("cpu", autocast_dtype, enabled=autocast_dtype is not None):
            result = function(*leaves)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        return [output for output in outputs if isinstance(output, Tensor) and output.requires_grad]

    with quiet_libraries():
        gradients = [_pulled_back(output) for output in run()]

    def call() -> list[Tensor]:
        outputs = run()
        return [*outputs, *torch.autograd.grad(outputs, wanted, gradients)]

    return call


def _pulled_back(output: Tensor) -> Tensor:
    if output.dim() == 0:
        return torch.ones_like(output)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(output.shape, generator=generator, dtype=torch.float32)
    return torch.empty_like(output).copy_(drawn)


def ours(
    function: Callable[..., Any],
    inputs: Inputs,
    *,
    layouts: Sequence[str] = ("",),
    backward: bool = False,
) -> dict[str, Variant]:
    """Our operator on its native backend, and, beside it, on its reference."""
    found: dict[str, Variant] = {}
    kinds: dict[str, Kind] = {"cpu": OURS, "reference": CONTEXT}
    for backend, kind in kinds.items():
        run = partial(function, backend=backend)
        for at in layouts if backend == "cpu" else layouts[:1]:
            build = partial(forward_backward if backward else _ours, run, inputs, at)
            found[f"spinecore {backend} {at}".strip()] = Variant(build, kind, f"spinecore {backend}")
    return found


def _ours(run: Callable[..., Any], inputs: Inputs, layout: str) -> Call:
    return _without_gradient(run, [in_layout(value, layout) for value in inputs()])
