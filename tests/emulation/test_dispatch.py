"""Every operator through its public function with backend="cuda", gradients too, on emulated kernels."""

from __future__ import annotations

from collections import ChainMap
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from emulation import sources

from spinecore import backends
from spinecore.backends import Verdict
from spinecore.ops import _device
from spinecore.ops._spec import OPS

MODULES = {
    "scse_gate": "emulated_scse_gate",
    "covariance_decorrelation": "emulated_covariance",
    "cross_decorrelation": "emulated_cross",
    "latent_pool": "emulated_latent_pool",
    "dictionary_pool": "emulated_dictionary_pool",
    "conv3x3": "emulated_conv3x3",
    "recurrent_residual_conv": "emulated_recurrence",
}
OPERATORS = sorted(name for name in OPS if name in backends.CUDA.kernels)


@pytest.fixture(scope="module")
def core() -> Any:
    """All of them as one core."""
    modules = [sources.operator_module(operator, name) for operator, name in MODULES.items()]
    return SimpleNamespace(**ChainMap(*(vars(module) for module in modules)))


@pytest.fixture(autouse=True)
def emulated(core: Any, as_the_core: object, monkeypatch: pytest.MonkeyPatch) -> None:
    as_the_core(core)  # type: ignore[operator]
    monkeypatch.setattr(backends.CUDA, "ready", lambda _device: Verdict(True, "emulated"))


def gradients(name: str, args: tuple[Any, ...], backend: str) -> list[torch.Tensor]:
    """The results of an operator that carry a gradient, and the gradients of its tensors."""
    leaves = [
        a.detach().clone().requires_grad_() if isinstance(a, torch.Tensor) and a.is_floating_point() else a
        for a in args
    ]
    returned = OPS[name].overload(*leaves, *missing(name, len(args)), backend)
    outputs = returned if isinstance(returned, tuple) else (returned,)
    wanted = [out for out in outputs if isinstance(out, torch.Tensor) and out.requires_grad]
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    total = sum((out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum() for out in wanted)
    grads = torch.autograd.grad(total, tensors, allow_unused=True)
    return [*(out.detach() for out in wanted), *(g for g in grads if g is not None)]


def missing(name: str, given: int) -> list[Any]:
    """What the operator takes between a sample's arguments and the backend, by its defaults."""
    arguments = OPS[name].overload._schema.arguments
    return [argument.default_value for argument in arguments[given:-1]]


@pytest.mark.parametrize("name", OPERATORS)
def test_the_kernels_are_reached_forward_and_backward(name: str) -> None:
    spec, ran = OPS[name], 0
    for _, args in spec.samples(torch.float32, 3):
        call = spec.call(*args, *missing(name, len(args)))
        if not backends.CUDA.can_run(call).ok:
            continue
        ran += 1
        backends.reset_usage()
        got = gradients(name, args, "cuda")
        assert backends.usage()[name] == {"cuda": 1}
        assert backends.usage()[f"{name}_backward"] == {"cuda": 1}
        for a, b in zip(got, gradients(name, args, "reference"), strict=True):
            torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)
    assert ran >= 2, "hardly any sample can run"


@pytest.mark.parametrize("name", OPERATORS)
def test_all_work_goes_to_the_stream_of_the_caller(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every launch and every reset; another stream, the default one too, is an error. (What allocates or
    synchronises does not compile here: the emulation has no such functions.)
    """
    spec = OPS[name]
    args = next(
        args
        for _, args in spec.samples(torch.float32, 3)
        if backends.CUDA.can_run(spec.call(*args, *missing(name, len(args)))).ok
    )
    monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(4711))
    monkeypatch.setenv("EMULATION_STREAM", "4711")
    gradients(name, args, "cuda")
    monkeypatch.setenv("EMULATION_STREAM", "4712")
    with pytest.raises(RuntimeError, match="InvalidResourceHandle"):
        gradients(name, args, "cuda")


@pytest.mark.parametrize("name", OPERATORS)
def test_the_triton_twin_takes_the_same_calls(name: str) -> None:
    """Both directions decide on the same options, as the call gives them."""
    spec = OPS[name]
    for _, args in spec.samples(torch.float32, 3):
        call = spec.call(*args, *missing(name, len(args)))
        for kernels in (backends.CUDA.kernels, backends.TRITON.kernels):
            forward, backward = kernels[name], kernels[f"{name}_backward"]
            verdict = forward.can_run(call)
            assert verdict.reason
            assert backward.can_run(call._replace(op=f"{name}_backward")).ok == verdict.ok


@pytest.mark.parametrize(
    ("dtype", "rows", "reason"),
    [
        (torch.float32, 5, None),
        (torch.float32, 20, "keys and values cost less"),
        (torch.bfloat16, 20, None),
        (torch.bfloat16, 90, "keys and values cost less"),
    ],
)
@pytest.mark.parametrize("name", ["latent_attention_pool", "latent_dictionary_pool"])
def test_many_latents_query_absorbed_where_tensor_cores_make_up_for_it(
    name: str, dtype: torch.dtype, rows: int, reason: str | None
) -> None:
    """D = 16 and four heads: 5 latents are 0.95 times the operations of keys and values, 20 are 2.2 times, 90
    are 3.4 times.
    """
    call = backends.Call(name, "cuda", dtype, (1, 30, 16), "contiguous", (("latents", rows), ("heads", 4)))
    for op in (name, f"{name}_backward"):
        verdict = backends.CUDA.should_run(call._replace(op=op))
        assert verdict.ok == (reason is None)
        dearer = "2.2 times the operations of keys and values, but on tensor cores"
        assert (dearer in verdict.reason) == (rows == 20 and verdict.ok)
        assert reason is None or reason in verdict.reason
        assert backends.CUDA.can_run(call._replace(op=op)).ok
        assert backends.TRITON.kernels[op].worthwhile(call).ok == (4 * rows < 16 + rows)  # type: ignore[misc]
