"""The operators on a GPU beside eager PyTorch (cuDNN, cuBLAS), SDPA, torch.compile, and the roofline."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spinecore import ops
from spinecore.bench import roofline
from spinecore.bench.case import Call, Shape, relative_error, results_of
from spinecore.bench.cases import covariance_decorrelation, latent_attention_pool, scse_gate
from spinecore.bench.cases import recurrent_residual_conv as recurrent
from spinecore.bench.models import in_layout

BACKENDS = ("cuda", "triton")
TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
Formula = Callable[..., Tensor]


@dataclass(frozen=True)
class Problem:
    """One operator at one shape: ``ours(*inputs, backend=)``, its peers, and what all of them get."""

    ours: Formula
    peers: Mapping[str, Formula]
    inputs: Sequence[Any]


def _scse(shape: Shape) -> Problem:
    peers = {"eager": scse_gate.plain, "eager one product": scse_gate.one_product}
    return Problem(ops.scse_gate, peers, scse_gate._inputs(shape))


def _covariance(shape: Shape) -> Problem:
    def penalty(z: Tensor, backend: str | None = None) -> Tensor:
        off_diagonal, hinge = ops.covariance_penalty(
            z, gamma=covariance_decorrelation.GAMMA, eps=covariance_decorrelation.EPS, backend=backend
        )
        return off_diagonal + hinge

    few = 2 * shape[0] <= shape[1]
    plain = covariance_decorrelation.plain_gram if few else covariance_decorrelation.plain
    return Problem(penalty, {"eager": plain}, [torch.randn(shape)])


def _pool(shape: Shape) -> Problem:
    batch, tokens, width, rows, heads = shape
    weights = [torch.randn(width, width) / width**0.5 for _ in range(4)]

    def pool(x: Tensor, *parameters: Tensor, backend: str | None = None) -> Tensor:
        latents, wq, wk, wv, wo = parameters
        y = ops.latent_attention_pool(x, latents, wq, wk, wv, wo, heads, backend=backend)
        assert isinstance(y, Tensor)
        return y

    def unmasked(formula: Formula, x: Tensor, *parameters: Tensor) -> Tensor:
        return formula(x, None, *parameters, heads=heads)

    peers = {
        "eager SDPA": partial(unmasked, latent_attention_pool.plain),
        "eager absorbed": partial(unmasked, latent_attention_pool.absorbed),
    }
    return Problem(pool, peers, [torch.randn(batch, tokens, width), torch.randn(rows, width), *weights])


def _conv(shape: Shape) -> Problem:
    def convolution(x: Tensor, w: Tensor, bias: Tensor, backend: str | None = None) -> Tensor:
        return ops.conv3x3(x, w, bias, "relu", backend=backend)

    def cudnn(x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, w, bias, padding=1))

    weight, _, shift = recurrent.draw_unit(shape[1])
    return Problem(convolution, {"eager cuDNN": cudnn}, [torch.randn(shape), weight, shift])


def _recurrent(shape: Shape) -> Problem:
    @cache
    def ones(device: torch.device, dtype: torch.dtype) -> Tensor:
        return torch.ones(shape[1], device=device, dtype=dtype)

    def unit(x: Tensor, w: Tensor, shift: Tensor, backend: str | None = None) -> Tensor:
        scale = ones(shift.device, shift.dtype)
        return ops.recurrent_residual_conv(x, w, w, scale, shift, recurrent.STEPS, backend=backend)

    weight, _, shift = recurrent.draw_unit(shape[1])
    peers = {"eager cuDNN": recurrent.plain, "eager by linearity": recurrent.by_linearity}
    return Problem(unit, peers, [torch.randn(shape), weight, shift])


PROBLEMS: dict[str, Callable[[Shape], Problem]] = {
    "scse_gate": _scse,
    "covariance_decorrelation": _covariance,
    "latent_attention_pool": _pool,
    "conv3x3": _conv,
    "recurrent_residual_conv": _recurrent,
}
DTYPES = {4: torch.float32, 2: torch.bfloat16}


@dataclass
class Row:
    """One line of the table. Times in seconds; ``refused`` names what did not run, and why."""

    operator: str
    shape: Shape
    dtype: str
    direction: str
    prediction: roofline.Prediction
    seconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def best(self, ours: bool) -> float | None:
        """The least time of ours or of the peers."""
        return min((t for n, t in self.seconds.items() if n.startswith("spinecore") == ours), default=None)


def _calls(
    function: Formula, inputs: Sequence[Any], device: torch.device, dtype: torch.dtype, backward: bool
) -> Call:
    """Channels-last images; with ``backward`` the gradients of all of them, pulled back from ones."""
    given = [in_layout(value.detach().to(device, dtype), "nhwc").requires_grad_(backward) for value in inputs]
    if not backward:

        def forward() -> Any:
            with torch.no_grad():
                return function(*given)

        return forward

    def both() -> list[Tensor]:
        y = function(*given)
        return [y, *torch.autograd.grad(y, given, torch.ones_like(y))]

    return both


def variants(problem: Problem, backends: Sequence[str], compiled: bool) -> Iterator[tuple[str, Formula]]:
    """Ours by backend, and every peer eager and compiled."""
    for backend in backends:
        yield f"spinecore {backend}", partial(problem.ours, backend=backend)
    for name, peer in problem.peers.items():
        yield name, peer
        if compiled:
            yield name.replace("eager", "compile"), torch.compile(peer, dynamic=False)


def measure(
    operator: str,
    shape: Shape,
    element: int,
    device: torch.device,
    *,
    backends: Sequence[str] = BACKENDS,
    compiled: bool = True,
    rounds: int = 9,
    seconds: float = 5e-3,
) -> list[Row]:
    """Forward, and forward + backward, ``seconds`` of each in a round. A variant that is wrong or fails is
    named, not timed.
    """
    torch.manual_seed(0)
    problem, dtype = PROBLEMS[operator](shape), DTYPES[element]
    forward, backward = roofline.OPERATORS[operator][0](shape, element)
    both = roofline.together(forward, backward)
    found = []
    for direction, prediction in (("forward", forward), ("forward + backward", both)):
        row = Row(operator, shape, str(dtype).removeprefix("torch."), direction, prediction)
        with_gradients = direction != "forward"
        rounded = [value.to(dtype) for value in problem.inputs]
        exact = partial(problem.ours, backend="reference")
        want = results_of(_calls(exact, rounded, torch.device("cpu"), torch.float64, with_gradients)())
        ready: dict[str, Call] = {}
        for name, function in variants(problem, backends, compiled):
            call = _calls(function, rounded, device, dtype, with_gradients)
            try:
                error = relative_error([r.cpu() for r in results_of(call())], want)
            except Exception as failure:  # noqa: BLE001 - whatever a library raises is its reason
                row.refused[name] = f"{type(failure).__name__}: {failure}".splitlines()[0]
                continue
            if error <= TOLERANCE[dtype]:
                ready[name] = call
            else:
                row.refused[name] = f"relative error {error:.1e}"
        row.seconds = in_turns(ready, device, rounds, seconds)
        found.append(row)
    return found


def in_turns(
    calls: Mapping[str, Call], device: torch.device, rounds: int, seconds: float
) -> dict[str, float]:
    """Median seconds of a call of each, between two events of the device, in turns: in every round as many
    calls as take ``seconds``.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    count = dict.fromkeys(calls, 1)
    for name, call in calls.items():
        for _ in range(2):
            once = _timed(call, 1, device)
        count[name] = max(1, min(200, int(seconds / max(once, 1e-6))))
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name].append(_timed(call, count[name], device))
    return {name: statistics.median(values) for name, values in samples.items()}


def _timed(call: Call, count: int, device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count
    with torch.cuda.device(device):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        first.record()
        for _ in range(count):
            call()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last)) * 1e-3 / count


def markdown(rows: Sequence[Row], name: str) -> str:
    """The table of one GPU: what was predicted, what was measured."""
    card = roofline.card_named(name)
    lines = [f"# GPU operators on {name}", ""]
    if card is None:
        known = ", ".join(card.name for card in roofline.CARDS)
        lines += [f"No time is predicted for this GPU, but for {known}.", ""]
    lines += [
        "| operator, shape | direction | MB, us predicted | | us ours | us best peer | peer / ours |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for row in rows:
        ours, peer = row.best(True), row.best(False)
        predicted = "-" if card is None else roofline.microseconds(row.prediction.seconds(card))
        what = f"{row.operator} {'x'.join(map(str, row.shape))} {row.dtype}"
        cells = [what, row.direction, f"{row.prediction.bytes / 1e6:.1f}", predicted]
        cells += ["-" if value is None else f"{value * 1e6:.1f}" for value in (ours, peer)]
        cells += ["-" if ours is None or peer is None else f"{peer / ours:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
        every = ", ".join(f"{n} {t * 1e6:.1f}" for n, t in row.seconds.items())
        notes.append(f"- {what}, {row.direction}: {every}")
        notes += [f"  - not counted: {n}: {why}" for n, why in row.refused.items()]
    return "\n".join([*lines, "", "All variants, microseconds", "", *notes, ""])
