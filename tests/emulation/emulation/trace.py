"""What a call of an operator asks of memory, counted while nvcc's PTX runs on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from emulation.resources import short_name

SECTOR = 32


class Instruction(NamedTuple):
    name: str  # opcode@line
    executed: int
    requests: int
    sectors: int
    ideal: int
    ways: int


class Kernel(NamedTuple):
    loaded: int  # different sectors of each block, added up
    stored: int
    instructions: list[Instruction]

    def sector_ratio(self) -> float:
        """Sectors of all global requests over the fewest that hold their bytes."""
        ideal = sum(i.ideal for i in self.instructions)
        return sum(i.sectors for i in self.instructions) / max(ideal, 1)

    def worst_ways(self) -> float:
        """Of the shared memory instructions that matter (1 % of requests), the most wavefronts a request."""
        every = sum(i.requests for i in self.instructions if i.ways)
        return max(
            (i.ways / i.requests for i in self.instructions if i.ways and i.requests > every / 100), default=0
        )


def traced(module: ModuleType, call: Callable[[], Any]) -> dict[str, Kernel]:
    """The kernels that `call` launches from a module made with `trace`."""
    library = ctypes.CDLL(module.__file__)
    library.emulation_trace.restype = ctypes.c_char_p
    library.emulation_trace()
    call()
    kernels: dict[str, Kernel] = {}
    for line in library.emulation_trace().decode().splitlines():
        name, *values = line.split()
        if name == "kernel":
            kernel = kernels[short_name(values[0])] = Kernel(int(values[1]), int(values[2]), [])
        else:
            kernel.instructions.append(Instruction(name, *map(int, values)))
    return kernels
