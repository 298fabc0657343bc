"""Where the tests run: a GPU, or what stands in for one, so that the tests are tested without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch.utils import _pytree as pytree

Call = Callable[[], Any]
SLEEP_CYCLES = 20_000_000
"""About ten milliseconds: whoever does not wait for a stream reads too early."""


class Processor(Protocol):
    """What a test asks of the place where it runs."""

    device: torch.device
    examples: int
    large: bool

    def settle(self) -> None:
        """Wait for everything; an error of a kernel comes out here."""

    def side_stream(self) -> AbstractContextManager[None]:
        """What is done inside is put into another stream, behind a pause."""

    def replayed(self, call: Call) -> Call:
        """The call, captured in a graph: running it computes anew from the same memory."""

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``torch.compile`` with graphs."""


class Card:
    """A CUDA device."""

    examples, large = 150, True

    def __init__(self, index: int) -> None:
        self.device = torch.device("cuda", index)

    def settle(self) -> None:
        torch.cuda.synchronize(self.device)

    @contextmanager
    def side_stream(self) -> Iterator[None]:
        with torch.cuda.device(self.device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                torch.cuda._sleep(SLEEP_CYCLES)
                yield
            torch.cuda.current_stream().wait_stream(stream)

    def replayed(self, call: Call) -> Call:
        with torch.cuda.device(self.device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # Triton compiles and libraries allocate before the capture
                for _ in range(2):
                    call()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                results = call()

        def replay() -> Any:
            graph.replay()
            return results

        return replay

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, mode="reduce-overhead", dynamic=False)


class StandIn:
    """The CPU: streams and graphs are what they would be if everything ran at once."""

    device, examples, large = torch.device("cpu"), 3, False

    def settle(self) -> None:
        pass

    def side_stream(self) -> AbstractContextManager[None]:
        return nullcontext()

    def replayed(self, call: Call) -> Call:
        return call

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, backend="aot_eager", dynamic=False)


def processors(kind: str) -> list[Processor]:
    """Every device of a kind: ``cuda`` or ``cpu``."""
    if kind == "cuda":
        return [Card(index) for index in range(torch.cuda.device_count())]
    return [StandIn()]


def on(processor: Processor, run: Callable[..., Any]) -> Callable[..., Any]:
    """``run`` with its tensors brought to the device, and its results back: the oracles live on the CPU."""

    def move(values: Any, device: torch.device | str) -> Any:
        return pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), values)

    def moved(*args: Any) -> Any:
        results = run(*move(args, processor.device))
        processor.settle()
        return move(results, "cpu")

    return moved
