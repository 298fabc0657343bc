"""The public operators on a GPU: backends, devices, streams, graphs, `torch.compile`."""

from __future__ import annotations

import pytest
import torch
from gpu_checks.operators import (
    WITH_KERNELS,
    assert_agree,
    expected,
    forward_backward,
    leaves,
    samples,
)
from gpu_checks.processors import Processor

from spinecore import backends
from spinecore.ops._spec import OPS


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_every_sample_on_every_device(name: str, backend: str, processor: Processor) -> None:
    """Also on a second one, which is not the current device."""
    ran = 0
    for args in samples(name, backend):
        backends.reset_usage()
        got = forward_backward(name, leaves(args, processor.device), backend)
        processor.settle()
        assert all(result.device.type == processor.device.type for result in got)
        assert backends.usage()[name] == {backend: 1}
        assert backends.usage()[f"{name}_backward"] == {backend: 1}
        assert_agree(got, expected(name, args))
        ran += 1
    assert ran >= 2, "hardly any sample can run"


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(OPS))
def test_without_a_name_something_runs(name: str, processor: Processor) -> None:
    """Operators without GPU kernels run their reference there."""
    from gpu_checks.operators import missing

    for _, args in OPS[name].samples(torch.float32, 3):
        full = [*args, *missing(name, len(args))]
        assert_agree(forward_backward(name, leaves(full, processor.device), None), expected(name, full))


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_work_waits_for_the_stream_of_the_caller(name: str, backend: str, processor: Processor) -> None:
    """The input is written in a side stream after a pause: a kernel in any other stream would read NaN."""
    args = next(samples(name, backend))
    here = leaves(args, processor.device)
    forward_backward(name, here, backend)  # compiled and allocated
    image = next(value for value in here if isinstance(value, torch.Tensor) and value.requires_grad)
    values = image.detach().clone()
    with torch.no_grad():
        image.fill_(float("nan"))
    processor.settle()
    with processor.side_stream():
        with torch.no_grad():
            image.copy_(values)
        got = forward_backward(name, here, backend)
    processor.settle()
    assert_agree(got, expected(name, args))


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_a_captured_graph_computes_anew(name: str, backend: str, first: Processor) -> None:
    """No allocation, synchronisation or default stream in the way; tickets are reset in the graph."""
    args = next(samples(name, backend))
    here = leaves(args, first.device)
    replay = first.replayed(lambda: forward_backward(name, here, backend))
    for seed in (5, 6, 7):
        other = next(samples(name, backend, seed))
        with torch.no_grad():
            for mine, new in zip(here, other, strict=True):
                if isinstance(mine, torch.Tensor):
                    mine.copy_(new)
        got = [result.clone() for result in replay()]
        first.settle()
        assert_agree(got, expected(name, other))


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_compiled_with_graphs(name: str, backend: str, first: Processor) -> None:
    """`mode="reduce-overhead"`: warm up, record, replay, each right."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    args = next(samples(name, backend))
    compiled = first.compiled(lambda *given: OPS[name].overload(*given, backend))

    def call(here: list[object]) -> list[torch.Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        returned = compiled(*here)
        outputs = returned if isinstance(returned, tuple) else (returned,)
        wanted = [out for out in outputs if isinstance(out, torch.Tensor) and out.requires_grad]
        total = sum(out.square().sum() for out in wanted)
        tensors = [leaf for leaf in here if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
        grads = torch.autograd.grad(total, tensors, allow_unused=True)
        return [t.detach().clone() for t in (*wanted, *grads) if t is not None]

    def eager(here: list[object]) -> list[torch.Tensor]:
        nonlocal compiled
        kept, compiled = compiled, lambda *given: OPS[name].overload(*given, "reference")
        try:
            return call(here)
        finally:
            compiled = kept

    want = eager(leaves(args, "cpu", torch.float64))
    here = leaves(args, first.device)
    for _ in range(4):
        assert_agree(call(here), want)
    first.settle()
    assert torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] == 0
