"""A form that repeats its recorded runs: shapes come and go, threads meet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from spinecore.nn.repeated import Repeated
from spinecore.ops.prepared import PreparedConv, pool2x2


def form(x: Tensor) -> tuple[Tensor | None, ...]:
    weight = torch.linspace(-1, 1, 8 * 4).view(8, 4, 1, 1)
    return pool2x2(PreparedConv(weight, activation="relu")(x), "mean"), None


def draw(height: int, seed: int = 0) -> Tensor:
    return torch.randn(1, 4, height, 6, generator=torch.Generator().manual_seed(seed))


def test_any_layout_and_more_shapes_than_are_kept() -> None:
    repeated = Repeated(form)
    for _ in range(3):
        for height in range(2, 9):
            for _ in range(3):
                x = draw(height)
                wanted = form(x.contiguous(memory_format=torch.channels_last))[0]
                for given in (x, x.contiguous(memory_format=torch.channels_last)):
                    y, nothing = repeated(given)
                    assert nothing is None
                    assert torch.equal(y, wanted)  # type: ignore[arg-type]
    assert len(repeated._plans) == 4


def test_threads_that_meet_in_one_form() -> None:
    repeated = Repeated(form)
    calls = [(height, seed) for seed in range(40) for height in range(2, 9)]

    def right(call: tuple[int, int]) -> bool:
        x = draw(*call)
        wanted = form(x.contiguous(memory_format=torch.channels_last))[0]
        return all(torch.equal(repeated(x)[0], wanted) for _ in range(2))  # type: ignore[arg-type]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, calls))
