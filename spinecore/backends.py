"""Which implementation of an operator runs, and why.

A backend answers with a :class:`Verdict` from metadata alone (device, dtype, shape, layout). The choice is
made at every call, inside the operator, so it is the same in eager mode, under ``torch.compile`` and in an
exported graph. A backend asked for by name that cannot run raises its reason; without a name the first that
can, in order of priority, runs. :func:`explain` shows the answer of every backend, :func:`usage` counts which
ones really ran.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from spinecore import _native

if TYPE_CHECKING:
    from rich.table import Table


class BackendUnavailable(RuntimeError):  # noqa: N818 - the name says what is the case
    """A backend was asked for by name and cannot run this call; the message carries its reason."""


class Verdict(NamedTuple):
    """Whether a backend can run a call, with the reason in words for either answer."""

    ok: bool
    reason: str


class Call(NamedTuple):
    """What a backend may look at when it decides: never the values of a tensor.

    ``shape``, ``dtype`` and ``layout`` are those of the operator's leading tensor; ``layout`` is
    ``contiguous``, ``channels_last`` or ``strided``. ``options`` holds whatever else the operator declares
    (step counts, modes).
    """

    op: str
    device: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    layout: str
    options: tuple[Any, ...] = ()


class Kernel(NamedTuple):
    """One implementation of one operator: ``run`` takes the operator's arguments without ``backend``.

    ``worthwhile`` says whether it is expected to beat the next backend; where it is not, the kernel still
    runs when asked for by name.
    """

    run: Callable[..., Any]
    can_run: Callable[[Call], Verdict]
    worthwhile: Callable[[Call], Verdict] | None = None


def layout_of(x: torch.Tensor) -> str:
    """``contiguous``, ``channels_last`` (4-d only) or ``strided``."""
    if x.is_contiguous():
        return "contiguous"
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return "channels_last"
    return "strided"


def call_of(op: str, x: torch.Tensor, *options: Any) -> Call:
    """The :class:`Call` of an operator whose leading tensor is ``x``."""
    return Call(op, x.device.type, x.dtype, tuple(x.shape), layout_of(x), options)


@dataclass
class Backend:
    """A family of kernels. ``ready`` says whether the family can run at all for a device type on this
    machine.
    """

    name: str
    priority: int
    label: str
    ready: Callable[[str], Verdict]
    kernels: dict[str, Kernel] = field(default_factory=dict)

    def can_run(self, call: Call) -> Verdict:
        """The verdict for one call: first the machine, then whether a kernel exists, then what the kernel
        itself says.
        """
        ready = self.ready(call.device)
        if not ready.ok:
            return ready
        kernel = self.kernels.get(call.op)
        if kernel is None:
            return Verdict(False, f"no {self.label} kernel for {call.op} in this build")
        return kernel.can_run(call)

    def should_run(self, call: Call) -> Verdict:
        """The verdict without a request by name: it can run, and is expected to beat the next backend."""
        verdict = self.can_run(call)
        kernel = self.kernels.get(call.op)
        if not verdict.ok or kernel is None or kernel.worthwhile is None:
            return verdict
        worth = kernel.worthwhile(call)
        return verdict if worth.ok else worth


_READY = Verdict(True, "available")


@cache
def _wrong_device_for_cuda(device: str) -> Verdict:
    remedy = "move them with .to('cuda')" if torch.cuda.is_available() else "torch finds no CUDA device here"
    return Verdict(False, f"the tensors are on {device}; {remedy}")


def _cuda_ready(device: str) -> Verdict:
    if device != "cuda":
        return _wrong_device_for_cuda(device)
    reason = _native.cuda_unavailable_reason()
    return _READY if reason is None else Verdict(False, reason)


@cache
def _triton_installed() -> Verdict:
    if importlib.util.find_spec("triton") is None:
        return Verdict(False, "triton is not installed; pip install 'spinecore-torch[triton]'")
    return _READY


def _triton_ready(device: str) -> Verdict:
    return _triton_installed() if device == "cuda" else _wrong_device_for_cuda(device)


def _cpu_ready(device: str) -> Verdict:
    if device != "cpu":
        return Verdict(False, f"the tensors are on {device}; the native CPU kernels need them on the CPU")
    reason = _native.unavailable_reason()
    return _READY if reason is None else Verdict(False, reason)


def _reference_ready(_device: str) -> Verdict:
    return _READY


CUDA = Backend("cuda", 30, "CUDA", _cuda_ready)
TRITON = Backend("triton", 20, "Triton", _triton_ready)
CPU = Backend("cpu", 10, "native", _cpu_ready)
REFERENCE = Backend("reference", 0, "reference", _reference_ready)

BACKENDS: tuple[Backend, ...] = (CUDA, TRITON, CPU, REFERENCE)
"""Every backend, highest priority first."""

_BY_NAME = {backend.name: backend for backend in BACKENDS}
_usage: Counter[tuple[str, str]] = Counter()


def backend(name: str) -> Backend:
    """The backend of that name; ``ValueError`` names the ones there are."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(
            f"backend={name!r} is not a backend; use one of {', '.join(_BY_NAME)}, or None"
        ) from None


def register_kernel(op: str, backend_name: str, kernel: Kernel) -> None:
    """Add an implementation of ``op``; a second one for the same pair is an error."""
    owner = backend(backend_name)
    if op in owner.kernels:
        raise ValueError(f"backend {backend_name!r} already has a kernel for {op}")
    owner.kernels[op] = kernel


def verdicts(call: Call, requested: str | None = None) -> dict[str, Verdict]:
    """What every backend says about a call, highest priority first. One asked for by name need only be able
    to run it.
    """
    return {
        candidate.name: candidate.can_run(call) if candidate.name == requested else candidate.should_run(call)
        for candidate in BACKENDS
    }


def select(call: Call, requested: str | None = None) -> Backend:
    """The backend that runs ``call``.

    Raises ``BackendUnavailable`` with the reason if ``requested`` cannot run it, or if no backend can.
    """
    if requested is not None:
        chosen = backend(requested)
        verdict = chosen.can_run(call)
        if not verdict.ok:
            raise BackendUnavailable(
                f"{call.op}: backend {requested!r} was asked for but cannot run: {verdict.reason}"
            )
        return chosen
    for candidate in BACKENDS:
        if call.op in candidate.kernels and candidate.should_run(call).ok:
            return candidate
    reasons = "; ".join(f"{name}: {verdict.reason}" for name, verdict in verdicts(call).items())
    raise BackendUnavailable(f"{call.op}: no backend can run this call ({reasons})")


def run(call: Call, args: tuple[Any, ...], requested: str | None = None) -> Any:
    """Choose, count and run. The one way from an operator to an implementation."""
    chosen = select(call, requested)
    _usage[call.op, chosen.name] += 1
    return chosen.kernels[call.op].run(*args)


def count_use(op: str, name: str) -> None:
    """Count a run that :func:`run` did not choose: that of a kernel prepared once for many calls."""
    _usage[op, name] += 1


def usage() -> dict[str, dict[str, int]]:
    """How often each backend really ran each operator since the start or the last :func:`reset_usage`."""
    table: dict[str, dict[str, int]] = {}
    for (op, name), count in sorted(_usage.items()):
        table.setdefault(op, {})[name] = count
    return table


def reset_usage() -> None:
    """Set every counter of :func:`usage` back to zero."""
    _usage.clear()


Describe = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Call, str | None]]

_describers: dict[str, Describe] = {}


def register_operator(name: str, describe: Describe) -> None:
    """Tell :func:`explain` how to turn the arguments of an operator's function into a call and the backend
    asked for.
    """
    _describers[name] = describe


@dataclass(frozen=True)
class Explanation:
    """The answer of every backend to one call, highest priority first, for the operator and for its backward.

    ``chosen`` and ``backward_chosen`` name the backends that would run; None where the one asked for cannot.
    """

    call: Call
    requested: str | None
    verdicts: Mapping[str, Verdict]
    backward_verdicts: Mapping[str, Verdict]

    @property
    def chosen(self) -> str | None:
        """The backend that would run the operator."""
        return _choose(self.verdicts, self.requested)

    @property
    def backward_chosen(self) -> str | None:
        """The backend that would run its backward."""
        return _choose(self.backward_verdicts, self.requested)

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain types, ready for JSON."""
        return {
            "op": self.call.op,
            "device": self.call.device,
            "dtype": str(self.call.dtype).removeprefix("torch."),
            "shape": list(self.call.shape),
            "layout": self.call.layout,
            "requested": self.requested,
            "chosen": self.chosen,
            "backends": _rows(self.verdicts),
            "backward_chosen": self.backward_chosen,
            "backward_backends": _rows(self.backward_verdicts),
        }

    def __str__(self) -> str:
        facts = self.as_dict()
        shape = " x ".join(map(str, facts["shape"])) or "scalar"
        lines = [f"{facts['op']}: {shape} {facts['dtype']} {facts['layout']} on {facts['device']}"]
        if self.requested is not None:
            lines[0] += f", backend={self.requested!r} asked for"
        for name, verdict in self.verdicts.items():
            mark = "->" if name == self.chosen else "  "
            lines.append(f"{mark} {name:<10} {'yes' if verdict.ok else 'no':<4} {verdict.reason}")
        lines.append(f"   backward: {self.backward_chosen or 'none can run'}")
        return "\n".join(lines)

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(
            box=None,
            header_style="dim",
            pad_edge=False,
            title=str(self).splitlines()[0],
            title_justify="left",
        )
        for column in ("", "backend", "forward", "backward", "reason"):
            table.add_column(column, overflow="fold")
        for name, verdict in self.verdicts.items():
            mark = "[green]>[/]" if name == self.chosen else ""
            words = (
                "[green]yes[/]" if answer.ok else "no" for answer in (verdict, self.backward_verdicts[name])
            )
            table.add_row(mark, name, *words, verdict.reason)
        return table


def _choose(answers: Mapping[str, Verdict], requested: str | None) -> str | None:
    if requested is not None:
        return requested if answers[requested].ok else None
    return next((name for name, verdict in answers.items() if verdict.ok), None)


def _rows(answers: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    return [{"name": name, "ok": verdict.ok, "reason": verdict.reason} for name, verdict in answers.items()]


def _operator_name(op: Any) -> str:
    if isinstance(op, str):
        name = op
    elif hasattr(op, "_schema"):
        name = str(op._schema.name)
    elif hasattr(op, "_qualified_op_name"):
        name = str(op._qualified_op_name)
    else:
        name = str(getattr(op, "__name__", op))
    return name.rpartition("::")[2]


def explain(op: Any, *args: Any, **kwargs: Any) -> Explanation:
    """Say for every backend whether it can run a call, why or why not, and which one would run. Nothing is
    computed.

    Args:
        op: An operator: its name (``"scse_gate"``), its function (``spinecore.ops.scse_gate``) or
            ``torch.ops.spinecore.scse_gate``.
        *args: The arguments the function would get. They are checked as in a real call, and an enabled
            autocast counts.
        **kwargs: Likewise, ``backend`` included.

    Returns:
        An :class:`Explanation`; print it, or use ``chosen`` and ``as_dict()``.

    Raises:
        ValueError: there is no such operator or backend, or an argument is wrong.

    """
    # The operators register themselves here; importing them by name keeps the layers pointing one way.
    importlib.import_module("spinecore.ops")
    name = _operator_name(op)
    if name not in _describers:
        raise ValueError(
            f"explain: there is no operator {name!r}; use one of {', '.join(sorted(_describers))}"
        )
    call, requested = _describers[name](args, kwargs)
    if requested is not None:
        backend(requested)
    return Explanation(
        call,
        requested,
        verdicts(call, requested),
        verdicts(call._replace(op=f"{name}_backward"), requested),
    )
