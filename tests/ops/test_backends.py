"""The choice of a backend: by metadata, with a reason, counted, and never silently something else than asked
for.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from rich.console import Console
from torch import Tensor

import spinecore
from spinecore import _native, backends, ops
from spinecore.backends import BackendUnavailable, Call, Kernel, Verdict
from spinecore.ops import OPS


def gate_arguments(dtype: torch.dtype = torch.float32, channels: int = 8) -> list[Tensor | None]:
    x = torch.randn(2, channels, 4, 5).to(dtype)
    return [x, torch.randn(3, channels), None, torch.randn(channels, 3), None, torch.randn(channels), None]


def without_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "unavailable_reason", lambda: "the native core was not built; reinstall")


def test_explain_lists_every_backend_with_a_reason() -> None:
    explanation = spinecore.explain("scse_gate", *gate_arguments())
    facts = explanation.as_dict()
    assert [row["name"] for row in facts["backends"]] == ["cuda", "triton", "cpu", "reference"]
    assert all(row["reason"] for row in facts["backends"] + facts["backward_backends"])
    assert (
        facts["chosen"]
        == facts["backward_chosen"]
        == ("cpu" if _native.unavailable_reason() is None else "reference")
    )
    assert json.loads(json.dumps(facts))["shape"] == [2, 8, 4, 5]
    for text in (str(explanation), render(explanation)):
        assert "scse_gate: 2 x 8 x 4 x 5 float32 contiguous on cpu" in text
        assert "the tensors are on cpu" in text
        assert all(name in text for name in ("cuda", "triton", "cpu", "reference"))


def render(explanation: backends.Explanation) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(explanation)
    return console.export_text()


@pytest.mark.parametrize(
    "op",
    [
        "scse_gate",
        "spinecore::scse_gate",
        ops.scse_gate,
        torch.ops.spinecore.scse_gate,
        torch.ops.spinecore.scse_gate.default,
    ],
)
def test_explain_takes_names_functions_and_operators(op: object) -> None:
    assert spinecore.explain(op, *gate_arguments(), mode="max").call.op == "scse_gate"


def test_explain_computes_nothing_and_checks_arguments() -> None:
    backends.reset_usage()
    spinecore.explain("scse_gate", *gate_arguments())
    assert backends.usage() == {}
    with pytest.raises(ValueError, match=r"w2 is of shape \(7, 3\)"):
        spinecore.explain("scse_gate", *gate_arguments()[:3], torch.zeros(7, 3), None, torch.zeros(8), None)
    with pytest.raises(ValueError, match="no operator 'scse'; use one of conv1x1, conv1x1_bn, conv3x3"):
        spinecore.explain("scse")
    with pytest.raises(ValueError, match="'gpu' is not a backend; use one of cuda"):
        spinecore.explain("scse_gate", *gate_arguments(), backend="gpu")


def test_explain_sees_autocast_as_the_call_would() -> None:
    x, w = torch.zeros(1, 2, 3, 3), torch.zeros(2, 2, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert spinecore.explain("conv3x3", x, w).call.dtype is torch.bfloat16
    assert spinecore.explain("conv3x3", x, w).call.dtype is torch.float32


@pytest.mark.parametrize("name", OPS)
def test_a_missing_kernel_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = OPS[name]
    call = spec.call(*next(iter(spec.samples(torch.float32, 0))).args)
    for backend, device in (("cuda", "cuda"), ("triton", "cuda"), ("cpu", "cpu")):
        chosen = backends.backend(backend)
        if chosen.ready(device).ok:
            monkeypatch.delitem(chosen.kernels, name, raising=False)
            verdict = chosen.can_run(call._replace(device=device))
            assert verdict == Verdict(False, f"no {chosen.label} kernel for {name} in this build")
    assert backends.select(call).name == "reference"


def test_a_kernel_that_is_not_worthwhile_runs_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call("scse_gate", "cpu", torch.float32, (1, 2, 3, 4), "contiguous", ("add",))
    kernel = backends.REFERENCE.kernels["scse_gate"]
    slow = Kernel(kernel.run, kernel.can_run, lambda _call: Verdict(False, "slower than the next"))
    monkeypatch.setitem(backends.CUDA.kernels, "scse_gate", slow)
    monkeypatch.setattr(backends.CUDA, "ready", lambda _device: Verdict(True, ""))
    assert backends.select(call).name != "cuda"
    assert backends.verdicts(call)["cuda"] == Verdict(False, "slower than the next")
    assert backends.select(call, "cuda").name == "cuda"
    assert backends.verdicts(call, "cuda")["cuda"].ok


@pytest.mark.parametrize("name", ["cuda", "triton"])
def test_a_backend_asked_for_and_impossible_raises_its_reason(name: str) -> None:
    with pytest.raises(
        BackendUnavailable, match=rf"^scse_gate: backend '{name}' was asked for but cannot run: the tensors"
    ):
        ops.scse_gate(*gate_arguments(), backend=name)
    assert spinecore.explain("scse_gate", *gate_arguments(), backend=name).chosen is None
    with pytest.raises(ValueError, match="'gpu' is not a backend"):
        ops.scse_gate(*gate_arguments(), backend="gpu")


def test_without_the_native_core_the_reference_runs_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_core(monkeypatch)
    explanation = spinecore.explain("scse_gate", *gate_arguments())
    assert explanation.chosen == "reference"
    assert explanation.verdicts["cpu"] == Verdict(False, "the native core was not built; reinstall")
    backends.reset_usage()
    ops.scse_gate(*gate_arguments())
    assert backends.usage() == {"scse_gate": {"reference": 1}}
    with pytest.raises(BackendUnavailable, match="the native core was not built"):
        ops.scse_gate(*gate_arguments(), backend="cpu")


def test_dtypes_the_native_kernel_does_not_have_go_to_the_reference_with_a_reason() -> None:
    for dtype in (torch.float64, torch.float16):
        x = torch.zeros(1, 2, 3, 3, dtype=dtype)
        args = [
            x,
            torch.zeros(1, 2, dtype=dtype),
            None,
            torch.zeros(2, 1, dtype=dtype),
            None,
            torch.zeros(2, dtype=dtype),
            None,
        ]
        explanation = spinecore.explain("scse_gate", *args)
        assert explanation.chosen == "reference"
        reason = explanation.verdicts["cpu"].reason
        assert _native.unavailable_reason() or f"float32 and bfloat16, not {str(dtype)[6:]}" in reason


def test_strides_that_are_not_dense_are_named() -> None:
    args = gate_arguments()
    args[0] = torch.randn(2, 8, 4, 10)[..., ::2]
    explanation = spinecore.explain("scse_gate", *args)
    assert explanation.call.layout == "strided"
    assert _native.unavailable_reason() or "first copied" in explanation.verdicts["cpu"].reason


def test_usage_counts_what_really_ran_also_when_compiled() -> None:
    args = [value.requires_grad_() if isinstance(value, Tensor) else value for value in gate_arguments()]
    chosen = spinecore.explain("scse_gate", *args).chosen
    for function in (ops.scse_gate, torch.compile(ops.scse_gate, fullgraph=True, backend="aot_eager")):
        backends.reset_usage()
        function(*args).sum().backward()
        assert backends.usage() == {"scse_gate": {chosen: 1}, "scse_gate_backward": {chosen: 1}}


def test_the_backend_asked_for_runs_the_backward_too() -> None:
    args = [value.requires_grad_() if isinstance(value, Tensor) else value for value in gate_arguments()]
    backends.reset_usage()
    ops.scse_gate(*args, backend="reference").sum().backward()
    assert backends.usage() == {"scse_gate": {"reference": 1}, "scse_gate_backward": {"reference": 1}}


def test_priority_decides_between_backends_that_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = Verdict(True, "pretended")
    kernel = Kernel(lambda *_: "ran", lambda _: pretended)
    monkeypatch.setattr(backends.TRITON, "ready", lambda _: pretended)
    monkeypatch.setattr(backends.TRITON, "kernels", {})
    backends.register_kernel("scse_gate", "triton", kernel)
    call = Call("scse_gate", "cpu", torch.float32, (1, 1, 1, 1), "contiguous")
    assert backends.select(call).name == "triton"
    assert backends.run(call, ()) == "ran"
    with pytest.raises(ValueError, match="already has a kernel"):
        backends.register_kernel("scse_gate", "triton", kernel)


def test_looking_at_backends_starts_no_cuda_and_imports_no_triton() -> None:
    look = """
import sys, torch, spinecore
spinecore.explain("conv3x3", torch.zeros(1, 2, 3, 3), torch.zeros(2, 2, 3, 3))
assert not torch.cuda.is_initialized()
assert "triton" not in sys.modules or torch.cuda.is_available()
"""
    subprocess.run([sys.executable, "-c", look], check=True)
