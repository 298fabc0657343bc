"""The figures of benchmarks/budgets.json, computed anew.

python -m emulation.budgets    (in tests/emulation, to write the file)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch

from emulation import conv_oracle, covariance_oracle, cross_oracle, ptx, resources, sources, trace
from emulation import scse_gate_oracle as oracle
from spinecore.ops import _conv3x3_gpu

PATH = sources.ROOT / "benchmarks/budgets.json"
# The sources of kernels, with the threads of a block, and the kernels that have other blocks.
THREADS: dict[str, tuple[int, dict[str, int]]] = {
    "scse_gate": (256, {}),
    "feature_products": (256, {"multiply_factors": 128}),
    "matrices": (128, {}),
    "covariance_decorrelation": (256, {}),
    "cross_decorrelation": (256, {}),
    "latent_pool": (128, {}),
    "dictionary_pool": (256, {"weigh_tokens": 128}),
    "conv3x3": (128, {"differentiate_weights": 256, "add_gradients": 256}),
    "recurrent_residual_conv": (256, {}),
}
OPERATORS = ("scse_gate", "covariance_decorrelation", "cross_decorrelation", "latent_pool", "conv3x3")
OPERATORS += ("recurrent_residual_conv", "dictionary_pool")
CASE = (1, 64, 48, 48)
PASSES = {"forward": 3, "backward": 4}  # reads and writes of an image: the least
KERNELS = ("IfLb1ELi8E", "I13__nv_bfloat16Lb1ELi8E", "contiguousIfLb1E", "contiguousI13__nv_bfloat16Lb1")
KERNELS += ("apply_gatesIfLi4E", "apply_gatesI13__nv_bfloat16Li8E")

# Of the penalties, those of float32.
FLOAT = ("multiply_factorsIf", "featuresIf", "covariance_", "cross_", "rowsIf", "gradientIf")
FLOAT += ("tokensIf", "scoresIf", "merge_norms")
POOLS = (*FLOAT, "tokensI13__nv_bfloat16", "scoresI13__nv_bfloat16", "multiply_rowsI13__nv_bfloat16")
CONVOLUTIONS = ("IfLb0E", "I13__nv_bfloat16", "add_gradients")
DICTIONARIES = ("multiply_factorsIf", "weigh_tokensIf", "softmaxIf", "softmaxI13__nv_bfloat16")
DICTIONARIES += ("multiply_rowsI13__nv_bfloat16", "weigh_tokensI13__nv_bfloat16")
RECURRENCES = ("recurIfLi32E", "recurI13__nv_bfloat16Li32E", "recurI13__nv_bfloat16Li64E")


def compiled(architecture: int) -> dict[str, Any]:
    """Registers, spills, shared memory and occupancy of every CUDA kernel."""
    return {name: resources.cuda_resources(name, architecture, *blocks) for name, blocks in THREADS.items()}


def figures(kernels: dict[str, trace.Kernel], least: int) -> dict[str, Any]:
    """Of the kernels of one pass that must move at least so many bytes."""
    moved = trace.SECTOR * sum(kernel.loaded + kernel.stored for kernel in kernels.values())
    return {
        "bytes over the least": round(moved / least, 3),
        "sectors over the ideal": {n: round(k.sector_ratio(), 3) for n, k in kernels.items()},
        "bank ways": {n: round(k.worst_ways(), 2) for n, k in kernels.items()},
    }


def memory_of_scse_gate(run: Any, module: Any) -> dict[str, Any]:
    """Sectors, bank conflicts and bytes of the scSE gate; `run` is the package's forward and backward."""
    found: dict[str, Any] = {}
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
            found[f"{direction}, {label}"] = figures(kernels, least)
    return found


def memory_of_covariance(run: Any, module: Any) -> dict[str, Any]:
    """Of the covariance penalty: z is read for the means, and by the tiles; a square is written."""
    found: dict[str, Any] = {}
    for rows, width, form in ((256, 128, "covariance"), (64, 256, "Gram")):
        case = covariance_oracle.make_case(rows, width)
        kept: list[Any] = []
        arguments = (case.z, case.mask, case.gamma, case.eps)
        side = 4 * min(rows, width) ** 2
        size = 4 * case.z.numel()
        forward = trace.traced(module, lambda a=arguments, k=kept: k.extend(run.forward(*a)))
        found[f"forward, {form}"] = figures(forward, 2 * size + side)
        scalars = (case.d_off, case.d_hinge)
        backward = trace.traced(
            module,
            lambda a=arguments, s=scalars, k=kept: run.backward(*a[:2], *s, k[2], k[3], *a[2:]),
        )
        found[f"backward, {form}"] = figures(backward, 2 * size + side)
    return found


def memory_of_cross(run: Any, module: Any) -> dict[str, Any]:
    """Of the orthogonality penalty, which has every kernel: reads for means, norms and the product; backward,
    the product, the part along the rows, the mean and the result.
    """
    case = cross_oracle.make_case(256, 128, 64, normalise=True)
    forward, backward = (kernel.run for kernel in run.kernels(True))
    size, side = 4 * (case.a.numel() + case.b.numel()), 4 * 128 * 64
    kept: list[Any] = []
    found = trace.traced(module, lambda: kept.extend(forward(case.a, case.b)))
    back = trace.traced(module, lambda: backward(case.a, case.b, case.grad, *kept[1:]))
    return {"forward": figures(found, 3 * size + side), "backward": figures(back, 9 * size + 2 * side)}


def memory_of_latent_pool(run: Any, module: Any) -> dict[str, Any]:
    """Of 32 queries over two samples: tokens are read for the scores and for the means; the scores are
    written and read. Backward, tokens are read twice again, the gradient written; scores and their gradient
    come and go; of halves, the gradient lies beside P in as many bytes.
    """
    batch, tokens, width, rows, heads = 2, 256, 64, 8, 4
    none, found = torch.empty(0), {}
    for dtype, passes in ((torch.float32, 5.0), (torch.bfloat16, 3.5)):
        x, queries = torch.randn(batch, tokens, width).to(dtype), torch.randn(heads * rows, width)
        kept: list[Any] = []
        forward = trace.traced(
            module, lambda x=x, q=queries, k=kept: k.extend(run.attend(x, q, rows, none, none))
        )
        d_means, delta = torch.randn_like(kept[2]).to(dtype), torch.randn(batch, heads * rows)
        given = (x, queries, rows, none, kept[0], kept[1], d_means, delta)
        backward = trace.traced(module, lambda g=given: run.differentiate(*g))
        image, scores = x.numel() * x.element_size(), 4 * kept[0].numel()
        name = str(dtype).removeprefix("torch.")
        found[f"forward, {name}"] = figures(forward, 2 * image + 2 * scores)
        found[f"backward, {name}"] = figures(backward, int(3 * image + passes * scores))
    return found


def memory_of_conv3x3(run: Any, module: Any) -> dict[str, Any]:
    """Of 32 to 32 channels: image and weights read once, the result written once."""
    found: dict[str, Any] = {}
    for dtype in (torch.float32, torch.bfloat16):
        case = conv_oracle.make_case((1, 32, 24, 24), 32, dtype, "none", False, channels_last=True)
        image, weights = case.x.numel() * case.x.element_size(), case.w.numel() * case.w.element_size()
        packed = _conv3x3_gpu.packed(case.w)
        name = str(dtype).removeprefix("torch.")
        kernels = trace.traced(module, lambda c=case, w=packed: run.CONVOLUTION.raw(c.x, w))
        found[f"forward, {name}"] = figures(kernels, 2 * image + weights)
        dy = case.dy.contiguous(memory_format=torch.channels_last)
        kernels = trace.traced(module, lambda c=case, d=dy: run.weights(c.x, d))
        found[f"weights, {name}"] = figures(kernels, 2 * image + 4 * case.w.numel())
    return found


def memory_of_recurrence(run: Any, module: Any) -> dict[str, Any]:
    """Of two steps in one kernel: image and both weights read once, the result written once."""
    found: dict[str, Any] = {}
    for dtype, channels in ((torch.float32, 32), (torch.bfloat16, 32), (torch.bfloat16, 64)):
        case = conv_oracle.make_recurrence((1, channels, 48, 48), dtype)
        size = dtype.itemsize
        least = size * (2 * case.x.numel() + 2 * case.w_in.numel())
        kernels = trace.traced(module, lambda c=case: run.run_fused(*c.arguments()))
        found[f"{str(dtype).removeprefix('torch.')}, {channels} channels"] = figures(kernels, least)
    return found


def memory_of_dictionary_pool(run: Any, module: Any) -> dict[str, Any]:
    """Of four heads of eight entries: tokens and entries read once, the weights written; backward, those read
    once, and the three gradients written.
    """
    batch, tokens, width, heads, count = 2, 256, 64, 4, 32
    found: dict[str, Any] = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, entries = torch.randn(batch, tokens, width).to(dtype), torch.randn(count, width)
        share, d_mean = torch.full((batch, tokens), 1 / tokens), torch.randn(batch, count)
        kept: list[Any] = []
        forward = trace.traced(
            module, lambda x=x, e=entries, s=share, k=kept: k.append(run.weigh(x, e, heads, s))
        )
        given = (x, entries, heads, share, kept[0], d_mean)
        backward = trace.traced(module, lambda g=given: run.differentiate(*g))
        size, scores = x.element_size(), 4 * kept[0].numel()
        inputs = size * (x.numel() + entries.numel())
        gradients = size * (x.numel() + kept[0].numel()) + 4 * entries.numel()
        name = str(dtype).removeprefix("torch.")
        found[f"forward, {name}"] = figures(forward, inputs + scores)
        found[f"backward, {name}"] = figures(backward, inputs + scores + gradients)
    return found


def memory(operator: str, use: Callable[[Any], None]) -> dict[str, Any]:
    """Sectors, bank conflicts and bytes of one operator; `use` puts a module in the place of the core."""
    from spinecore.ops import (
        _conv3x3_cuda,
        _covariance_cuda,
        _cross_cuda,
        _dictionary_pool_cuda,
        _latent_pool_cuda,
        _recurrent_residual_conv_cuda,
        _scse_gate_cuda,
    )

    shape, measure, run, kernels = {
        "scse_gate": (list(CASE), memory_of_scse_gate, _scse_gate_cuda, KERNELS),
        "covariance_decorrelation": ([256, 128], memory_of_covariance, _covariance_cuda, FLOAT),
        "cross_decorrelation": ([256, 128, 64], memory_of_cross, _cross_cuda, FLOAT),
        "latent_pool": ([2, 256, 64], memory_of_latent_pool, _latent_pool_cuda, POOLS),
        "conv3x3": ([1, 32, 24, 24], memory_of_conv3x3, _conv3x3_cuda, CONVOLUTIONS),
        "recurrent_residual_conv": (
            [1, 48, 48],
            memory_of_recurrence,
            _recurrent_residual_conv_cuda,
            RECURRENCES,
        ),
        "dictionary_pool": ([2, 256, 64], memory_of_dictionary_pool, _dictionary_pool_cuda, DICTIONARIES),
    }[operator]
    module = ptx.operator_module(operator, f"traced_{operator}", kernels, trace=True)
    use(module)
    return {"shape": shape, **measure(run, module)}


def compute() -> dict[str, Any]:
    """Everything that the file holds."""
    from contextlib import nullcontext

    from spinecore import _native
    from spinecore.ops import _device

    def use(module: Any) -> None:
        _native.core = lambda: module  # type: ignore[assignment]

    _device.stream_of = lambda _x: nullcontext(0)  # type: ignore[assignment]
    return {
        "compiled": {f"sm_{arch}": compiled(arch) for arch in resources.ARCHITECTURES},
        "memory": {operator: memory(operator, use) for operator in OPERATORS},
    }


if __name__ == "__main__":
    kept = json.loads(PATH.read_text())["reasons"] if PATH.is_file() else {}
    PATH.write_text(json.dumps({"reasons": kept, **compute()}, indent=1) + "\n")
