"""Latent attention pooling: the native kernel against PyTorch formulations, forward and forward + backward.

python benchmarks/latent_attention_pool.py            one table, variants in turns on one thread's CPU time
python benchmarks/latent_attention_pool.py quick      only the absorbed form, eager
pytest benchmarks/latent_attention_pool.py            the same variants under pytest-benchmark

Peers: "sdpa", the textbook form (keys and values of every token, scaled_dot_product_attention); "mha", the
same through multi_head_attention_forward; "absorbed", the best form we know how to write by hand in PyTorch,
with the projections absorbed into the queries. Each in the default and the 'medium' matmul precision, eager
and compiled (freezing on in inference); the absorbed form in bfloat16 too.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from interleaved import keep_memory, time_in_turns

from spinecore import ops

# B, N, D, R; eight heads
SHAPES = [
    (1, 4096, 512, 16),
    (1, 16384, 512, 16),
    (4, 1024, 256, 8),
    (1, 4096, 768, 64),
    (1, 4096, 256, 64),
    (8, 64, 512, 8),
    (1, 16384, 768, 32),
]
HEADS = 8
Call = Callable[[], object]
Pool = Callable[..., Tensor]


class Given(NamedTuple):
    tensors: list[Tensor]  # x, latents, wq, wk, wv, wo
    mask: Tensor  # True = keep
    added: Tensor  # the same as a term of the scores, (B, 1, 1, N)


def sdpa(x: Tensor, latents: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, added: Tensor) -> Tensor:
    batch, tokens, width = x.shape
    q = (latents @ wq).view(1, -1, HEADS, width // HEADS).transpose(1, 2).expand(batch, -1, -1, -1)
    k, v = ((x @ w).view(batch, tokens, HEADS, -1).transpose(1, 2) for w in (wk, wv))
    return F.scaled_dot_product_attention(q, k, v, added).transpose(1, 2).reshape(batch, -1, width) @ wo


def mha(x: Tensor, latents: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, added: Tensor) -> Tensor:
    batch, _, width = x.shape
    queries, tokens = latents[:, None].expand(-1, batch, -1), x.transpose(0, 1)
    y, _ = F.multi_head_attention_forward(
        queries,
        tokens,
        tokens,
        width,
        HEADS,
        None,
        None,
        None,
        None,
        False,
        0.0,
        wo.T,
        None,
        training=False,
        key_padding_mask=added[:, 0, 0],
        need_weights=False,
        use_separate_proj_weight=True,
        q_proj_weight=wq.T,
        k_proj_weight=wk.T,
        v_proj_weight=wv.T,
    )
    return y.transpose(0, 1)


def absorbed(
    x: Tensor, latents: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, added: Tensor
) -> Tensor:
    batch, tokens, width = x.shape
    head, rows = width // HEADS, latents.shape[0]
    q = (latents @ wq).view(rows, HEADS, head).transpose(0, 1) / math.sqrt(head)
    keys = torch.bmm(q, wk.view(width, HEADS, head).permute(1, 2, 0)).reshape(1, HEADS * rows, width)
    scores = (keys @ x.transpose(1, 2)).view(batch, HEADS, rows, tokens) + added
    means = (torch.softmax(scores, -1).view(batch, HEADS * rows, tokens) @ x).view(batch, HEADS, rows, width)
    pooled = torch.einsum("bhrc,chd->brhd", means, wv.view(width, HEADS, head))
    return pooled.reshape(batch, rows, width) @ wo


def arguments(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Given:
    torch.manual_seed(0)
    batch, tokens, width, rows = shape
    x, latents = torch.randn(batch, tokens, width), torch.randn(rows, width)
    weights = [torch.randn(width, width) / width**0.5 for _ in range(4)]
    mask = torch.ones(batch, tokens, dtype=torch.bool)
    for b in range(batch):
        mask[b, tokens - (tokens // 8) * (b % 3 + 1) // 2 :] = False
    added = torch.zeros(batch, 1, 1, tokens).masked_fill(~mask[:, None, None], float("-inf"))
    return Given([tensor.to(dtype) for tensor in (x, latents, *weights)], mask, added.to(dtype))


def forward(pool: Pool, tensors: list[Tensor]) -> Call:
    def call() -> Tensor:
        with torch.no_grad():
            return pool(*tensors)

    return call


def forward_backward(pool: Pool, tensors: list[Tensor]) -> Call:
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    x, latents = leaves[:2]
    gradient = torch.randn(x.shape[0], *latents.shape, dtype=x.dtype)
    return lambda: torch.autograd.grad(pool(*leaves), leaves, gradient)


Direction = Callable[[Pool, list[Tensor]], Call]


def medium(call: Call) -> Call:
    def run() -> object:
        torch.set_float32_matmul_precision("medium")
        try:
            return call()
        finally:
            torch.set_float32_matmul_precision("highest")

    return run


def compiled(pool: Pool, direction: Direction, given: Given, precision: str) -> Call:
    """Compiled for this call alone, under its precision; in inference the weights are constants."""
    torch.compiler.reset()
    tensors = given.tensors
    if direction is forward:
        weights = torch.nn.ParameterList(torch.nn.Parameter(tensor) for tensor in tensors[1:])

        class Module(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weights = weights

            def forward(self, x: Tensor) -> Tensor:
                return pool(x, *self.weights, given.added)

        function: Pool = torch.compile(Module().eval(), dynamic=False)
        call = direction(lambda x, *_: function(x), tensors)
    else:
        function = torch.compile(partial(pool, added=given.added), dynamic=False)
        call = direction(function, tensors)
    call = medium(call) if precision == "medium" else call
    with torch._inductor.config.patch(freezing=direction is forward):
        call()
    return call


def native(given: Given, direction: Direction) -> Call:
    def pool(*tensors: Tensor) -> Tensor:
        y = ops.latent_attention_pool(*tensors, HEADS, given.mask, backend="cpu")  # type: ignore[misc]
        assert isinstance(y, Tensor)
        return y

    return direction(pool, given.tensors)


def reference(given: Given, direction: Direction) -> Call:
    def pool(*tensors: Tensor) -> Tensor:
        y = ops.latent_attention_pool(*tensors, HEADS, given.mask, backend="reference")  # type: ignore[misc]
        assert isinstance(y, Tensor)
        return y

    return direction(pool, given.tensors)


PEERS: dict[str, Pool] = {"sdpa": sdpa, "mha": mha, "absorbed": absorbed}
COMPILED = [f"{name} compile{precision}" for name in ("sdpa", "absorbed") for precision in ("", " medium")]
VARIANTS = [
    *(f"{name}{precision}" for name in ("sdpa", "absorbed") for precision in ("", " medium")),
    "mha medium",
    *COMPILED,
    "absorbed bf16",
    "reference",
    "spinecore",
    "spinecore bf16",
]
QUICK = ["absorbed", "absorbed medium", "absorbed bf16", "spinecore", "spinecore bf16"]


def variant(name: str, shape: tuple[int, ...], direction: Direction) -> Call:
    """One of VARIANTS on one shape."""
    given = arguments(shape, torch.bfloat16 if name.endswith("bf16") else torch.float32)
    kind = name.split()[0]
    if kind == "spinecore":
        return native(given, direction)
    if kind == "reference":
        return reference(given, direction)
    if "compile" in name:
        return compiled(PEERS[kind], direction, given, "medium" if name.endswith("medium") else "highest")
    call = direction(partial(PEERS[kind], added=given.added), given.tensors)
    return medium(call) if name.endswith("medium") else call


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("direction", [forward, forward_backward], ids=lambda function: function.__name__)
@pytest.mark.parametrize("name", VARIANTS)
def test_latent_attention_pool(
    benchmark: object, shape: tuple[int, ...], direction: Direction, name: str
) -> None:
    torch.set_num_threads(1)
    keep_memory()
    benchmark.group = f"{direction.__name__} {shape}"  # type: ignore[attr-defined]
    benchmark(variant(name, shape, direction))  # type: ignore[operator]


def main() -> None:
    torch.set_num_threads(1)
    keep_memory()
    chosen = [int(word) for word in sys.argv[1:] if word.isdigit()] or range(len(SHAPES))
    names = VARIANTS if "quick" not in sys.argv else QUICK
    only = [word for word in sys.argv[1:] if word in ("forward", "forward_backward")]
    for direction in (forward, forward_backward):
        if only and direction.__name__ not in only:
            continue
        print(f"\n{direction.__name__}: ms of CPU time, one thread")
        for shape in (SHAPES[i] for i in chosen):
            seconds = time_in_turns({name: variant(name, shape, direction) for name in names}, rounds=7)
            peers = {n: s for n, s in seconds.items() if not n.startswith("spinecore") and "bf16" not in n}
            hand = min(value for name, value in peers.items() if name.startswith("absorbed"))
            ours, half = seconds["spinecore"], seconds["absorbed bf16"] / seconds["spinecore bf16"]
            cells = "  ".join(f"{name} {1e3 * value:.2f}" for name, value in seconds.items())
            print(
                f"{shape!s:20} {cells}  | best hand-absorbed / ours {hand / ours:.2f}, "
                f"best peer / ours {min(peers.values()) / ours:.2f}, bf16 absorbed / ours {half:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
