"""The figures of benchmarks/budgets.json, computed anew.

python -m emulation.budgets    (in tests/emulation, to write the file)
"""

from __future__ import annotations

import json
from typing import Any

import torch

from emulation import ptx, resources, sources, trace
from emulation import scse_gate_oracle as oracle

PATH = sources.ROOT / "benchmarks/budgets.json"
THREADS = {"scse_gate": 256}
CASE = (1, 64, 48, 48)
PASSES = {"forward": 3, "backward": 4}  # reads and writes of an image: the least
KERNELS = ("IfLb1ELi8E", "I13__nv_bfloat16Lb1ELi8E", "contiguousIfLb1E", "contiguousI13__nv_bfloat16Lb1")
KERNELS += ("apply_gatesIfLi4E", "apply_gatesI13__nv_bfloat16Li8E")


def compiled(architecture: int) -> dict[str, Any]:
    """Registers, spills, shared memory and occupancy of every CUDA kernel."""
    return {name: resources.cuda_resources(name, architecture, threads) for name, threads in THREADS.items()}


def memory(run: Any, module: Any) -> dict[str, Any]:
    """Sectors, bank conflicts and bytes of the scSE gate; `run` is the package's forward and backward."""
    figures: dict[str, Any] = {}
    for dtype, channels_last in ((d, c) for d in (torch.float32, torch.bfloat16) for c in (False, True)):
        case = oracle.make_case(CASE, 8, "add", channels_last, dtype)
        arguments = case.arguments()
        outputs: list[Any] = []
        label = f"{str(dtype).removeprefix('torch.')} {'channels-last' if channels_last else 'NCHW'}"
        forward = trace.traced(
            module, lambda c=case, a=arguments, o=outputs: o.extend(run.forward(c.x, *a, c.mode))
        )
        gates = outputs[1:]
        backward = trace.traced(
            module, lambda c=case, a=arguments, g=gates: run.backward(c.x, c.dy, *a[:5], *g, c.mode)
        )
        for direction, kernels in (("forward", forward), ("backward", backward)):
            least = PASSES[direction] * case.x.numel() * case.x.element_size()
            moved = trace.SECTOR * sum(kernel.loaded + kernel.stored for kernel in kernels.values())
            figures[f"{direction}, {label}"] = {
                "bytes over the least": round(moved / least, 3),
                "sectors over the ideal": {n: round(k.sector_ratio(), 3) for n, k in kernels.items()},
                "bank ways": {n: round(k.worst_ways(), 2) for n, k in kernels.items()},
            }
    return figures


def compute() -> dict[str, Any]:
    """Everything that the file holds."""
    from contextlib import nullcontext

    from spinecore import _native
    from spinecore.ops import _device, _scse_gate_cuda

    module = ptx.operator_module("scse_gate", "traced_scse_gate", KERNELS, trace=True)
    _native.core = lambda: module  # type: ignore[assignment]
    _device.stream_of = lambda _x: nullcontext(0)  # type: ignore[assignment]
    return {
        "compiled": {f"sm_{arch}": compiled(arch) for arch in resources.ARCHITECTURES},
        "memory": {"scse_gate": {"shape": list(CASE), **memory(_scse_gate_cuda, module)}},
    }


if __name__ == "__main__":
    kept = json.loads(PATH.read_text())["reasons"] if PATH.is_file() else {}
    PATH.write_text(json.dumps({"reasons": kept, **compute()}, indent=1) + "\n")
