"""The losses hold no more (D, D) matrices than they say, counted in what torch allocates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile

from spinecore import ops
from spinecore.nn import distributed_covariance_penalty, distributed_orthogonality_penalty

WIDTH, ROWS = 1024, 32
SQUARE = WIDTH * WIDTH * 4


def peak(run: Callable[[], None]) -> int:
    """Most bytes that torch held at once beyond those it began with."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    assert profiled.profiler is not None
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.fixture
def group(tmp_path: Path) -> Iterator[dist.ProcessGroup]:
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("only on Linux: gloo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    assert dist.group.WORLD is not None
    yield dist.group.WORLD
    dist.destroy_process_group()


def draw(seed: int) -> torch.Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_the_counter_sees_a_square_and_its_copy() -> None:
    assert SQUARE <= peak(lambda: torch.empty(WIDTH, WIDTH).zero_().sum().item()) < 1.1 * SQUARE
    assert 2 * SQUARE <= peak(lambda: torch.empty(WIDTH, WIDTH).square().sum().item()) < 2.1 * SQUARE


def test_a_process_of_a_group_holds_one_square(group: dist.ProcessGroup) -> None:
    a, b = draw(0), draw(1)

    def covariance() -> None:
        sum(distributed_covariance_penalty(a, process_group=group)).backward()  # type: ignore[union-attr]

    def orthogonality() -> None:
        distributed_orthogonality_penalty(a, b, process_group=group).backward()

    for run in (covariance, orthogonality):
        assert SQUARE <= peak(run) < 2 * SQUARE


def test_few_rows_need_no_square_at_all() -> None:
    a, b = draw(0), draw(1)

    def covariance() -> None:
        sum(ops.covariance_penalty(a)).backward()  # type: ignore[union-attr]

    def orthogonality() -> None:
        ops.orthogonality_penalty(a, b).backward()

    for run in (covariance, orthogonality):
        assert peak(run) < SQUARE
