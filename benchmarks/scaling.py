"""How the time of every native operator grows with its sizes, beside the model of its cost.

python benchmarks/scaling.py [--only scse_gate]    into benchmarks/results/<date>-scaling.json and .png

The model is OpSpec.cost: its operations at this machine's multiply-add peak, or its bytes as fast as the
machine copies, whichever takes longer. Only operators with a native kernel are measured.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spinecore.backends import BackendUnavailable
from spinecore.bench import machine
from spinecore.bench.case import Work
from spinecore.bench.results import new_document, write_document
from spinecore.bench.timing import keep_memory, one_thread, time_in_turns
from spinecore.ops import OPS

RESULTS = Path(__file__).parent / "results"


class Sweep(NamedTuple):
    """One size of one operator that grows, the others as ``fixed`` says."""

    op: str
    axis: str
    values: tuple[int, ...]
    fixed: str
    arguments: Callable[[int], tuple[Any, ...]]


def image(channels: int, height: int, width: int) -> Tensor:
    return torch.randn(1, channels, height, width).contiguous(memory_format=torch.channels_last)


def kernel(out: int, channels: int) -> Tensor:
    return torch.randn(out, channels, 3, 3) / (3 * channels**0.5)


def gate(c: int, side: int) -> tuple[Any, ...]:
    r = max(c // 8, 1)
    parameters = torch.randn(r, c), torch.randn(r), torch.randn(c, r), torch.randn(c), torch.randn(c) / c
    return (image(c, side, side), *parameters, torch.randn(1), "add")


def convolution(c: int, side: int) -> tuple[Any, ...]:
    return image(c, side, side), kernel(c, c), torch.randn(c), "relu", None


def recurrent(c: int, side: int, steps: int) -> tuple[Any, ...]:
    weight = kernel(c, c)
    return image(c, side, side), weight, weight, torch.ones(c), torch.zeros(c), steps, True


def normalised(c: int, side: int, steps: int) -> tuple[Any, ...]:
    weight = kernel(c, c)
    return image(c, side, side), weight, weight, torch.ones(c), torch.zeros(c), 1e-5, steps, True


def attention(n: int, d: int, r: int) -> tuple[Any, ...]:
    weights = [torch.randn(d, d) / d**0.5 for _ in range(4)]
    return torch.randn(1, n, d), torch.randn(r, d), *weights, 8, None, None


def features(b: int, d: int) -> tuple[Any, ...]:
    return (torch.randn(b, d), None, 1.0, 1e-4)


# Tensors stay below 32 MiB: beyond that glibc takes fresh pages at every call, and page faults are the time.
SIDES, CHANNELS, TOKENS = (16, 32, 64, 128, 256), (16, 32, 64, 128, 256), (64, 256, 1024, 4096, 16384)
BY_SIDE = "C=32, steps=2"
SWEEPS = [
    Sweep("recurrent_residual_conv", "H*W", SIDES, BY_SIDE, lambda s: recurrent(32, s, 2)),
    Sweep("recurrent_residual_conv", "C", CHANNELS, "64x64, steps=2", lambda c: recurrent(c, 64, 2)),
    Sweep("recurrent_residual_conv", "steps", (1, 2, 4, 8), "C=64, 64x64", lambda t: recurrent(64, 64, t)),
    Sweep("recurrent_residual_conv_bn", "H*W", SIDES, BY_SIDE, lambda s: normalised(32, s, 2)),
    Sweep("recurrent_residual_conv_bn", "C", CHANNELS, "64x64, steps=2", lambda c: normalised(c, 64, 2)),
    Sweep("recurrent_residual_conv_bn", "steps", (1, 2, 4), "C=64, 64x64", lambda t: normalised(64, 64, t)),
    Sweep("conv3x3", "H*W", SIDES, "C=32", lambda s: convolution(32, s)),
    Sweep("conv3x3", "C", CHANNELS, "64x64", lambda c: convolution(c, 64)),
    Sweep("scse_gate", "H*W", SIDES, "C=64", lambda s: gate(64, s)),
    Sweep("scse_gate", "C", CHANNELS, "128x128", lambda c: gate(c, 128)),
    Sweep("latent_attention_pool", "N", TOKENS, "D=256, R=16", lambda n: attention(n, 256, 16)),
    Sweep("latent_attention_pool", "D", TOKENS[:3], "N=2048, R=16", lambda d: attention(2048, d, 16)),
    Sweep(
        "latent_attention_pool", "R", (1, 4, 16, 64, 256), "N=2048, D=256", lambda r: attention(2048, 256, r)
    ),
    Sweep("covariance_penalty", "B", (32, 128, 512, 2048, 8192), "D=256", lambda b: features(b, 256)),
    Sweep("covariance_penalty", "D", (16, 64, 256, 1024, 2048), "B=1024", lambda d: features(1024, d)),
]


def measure(sweep: Sweep) -> dict[str, Any] | None:
    """Times and model of one sweep; None where the operator is not native."""
    spec = OPS[sweep.op]
    given = {value: sweep.arguments(value) for value in sweep.values}

    def call(arguments: tuple[Any, ...]) -> Any:
        with torch.no_grad():
            return spec.function(*arguments, backend="cpu")

    try:
        call(next(iter(given.values())))
    except BackendUnavailable as reason:
        print(f"{sweep.op} over {sweep.axis}: {reason}")
        return None
    costs = {value: spec.cost(*arguments) for value, arguments in given.items()}
    # The bandwidth is the one at the size of the largest image of the sweep, at most 64 MiB.
    work = Work(
        tensor_bytes=min(max(cost.bytes for cost in costs.values()) // 3, 64 << 20), reads=1, writes=1
    )
    calls: dict[str, Callable[[], object]] = {
        str(v): partial(call, arguments) for v, arguments in given.items()
    }
    seconds = time_in_turns({**calls, **machine.limit_variants(work)}, rounds=7)
    limits = machine.limits_of(seconds, work)
    flops, bandwidth = 1e9 * limits["fma_gflops"], 2e9 * limits["copy_gb_per_s"]
    points = [
        {
            "size": value * value if sweep.axis == "H*W" else value,
            "seconds": seconds[str(value)],
            "model_seconds": max(cost.flops / flops, cost.bytes / bandwidth),
            "flops": cost.flops,
            "bytes": cost.bytes,
        }
        for value, cost in costs.items()
    ]
    return {"op": sweep.op, "axis": sweep.axis, "fixed": sweep.fixed, "points": points, "limit": limits}


def growth(points: Sequence[dict[str, Any]], key: str) -> float:
    """The exponent between the two largest sizes: 1 is linear."""
    before, last = points[-2], points[-1]
    return math.log(last[key] / before[key]) / math.log(last["size"] / before["size"])


def draw(found: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(sweep["op"] for sweep in found))
    figure = Figure(figsize=(11, 2.7 * len(names) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(names), 3, squeeze=False)
    for row, name in zip(panels, names, strict=True):
        mine = [sweep for sweep in found if sweep["op"] == name]
        for axes in row[len(mine) :]:
            axes.set_axis_off()
        for axes, sweep in zip(row, mine, strict=False):
            points = sweep["points"]
            sizes = [point["size"] for point in points]
            axes.loglog(sizes, [1e3 * p["seconds"] for p in points], "o-", color="#2f7d57", label="measured")
            model = [1e3 * p["model_seconds"] for p in points]
            axes.loglog(sizes, model, "--", color="#6b7d92", label="model at the machine's limit")
            axes.set_title(f"{name}, {sweep['fixed']}", fontsize=8, loc="left")
            grown = [f"{growth(points, key):.2f}" for key in ("seconds", "model_seconds")]
            exponents = "growth at the end {}, of the model {}".format(*grown)
            axes.set_xlabel(f"{sweep['axis']}   ({exponents})", fontsize=7.5)
            axes.set_ylabel("ms", fontsize=8)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
            axes.tick_params(labelsize=7)
            axes.legend(fontsize=6.5)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="operators, separated by commas")
    given = parser.parse_args()
    wanted = given.only.split(",") if given.only else []
    date = time.strftime("%Y-%m-%d")
    torch.manual_seed(0)
    keep_memory()
    found = []
    with one_thread():
        for sweep in SWEEPS:
            if wanted and sweep.op not in wanted:
                continue
            measured = measure(sweep)
            if measured is None:
                continue
            found.append(measured)
            cells = ", ".join(f"{p['size']}: {1e3 * p['seconds']:.3g}" for p in measured["points"])
            print(f"{sweep.op} over {sweep.axis} ({sweep.fixed}), ms: {cells}", flush=True)
    if not found:
        return
    path = RESULTS / f"{date}-scaling.json"
    document = {**new_document(date, machine.describe()), "sweeps": found}
    document.pop("operators")
    write_document(path, document)
    facts = document["machine"]
    draw(found, f"one thread, {facts['cpu']}, {facts['isa']}, {date}", path.with_suffix(".png"))
    print(path)


if __name__ == "__main__":
    main()
