"""Recorded runs: the bits of the run that was recorded, in memory shared by what is never read together."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spinecore.ops.prepared import PreparedConv, PreparedRecurrence, pool2x2
from spinecore.ops.recording import NotFinite, Plan, Recording, _Buffer, _layout, image, room, run


def draw(seed: int, *shape: int) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


class Form:
    """A bit of everything: slices, several inputs, addends, pooling, a recurrence, a function of PyTorch."""

    def __init__(self) -> None:
        self.reduce = PreparedConv(draw(1, 24, 12, 1, 1) / 4, draw(2, 24), activation="relu")
        self.wide = PreparedConv(draw(3, 8, 8, 3, 3) / 9, draw(4, 8), activation="relu")
        self.far = PreparedConv(draw(5, 8, 8, 3, 3) / 9, dilation=3)
        self.fuse = PreparedConv(draw(6, 16, 24, 1, 1) / 5, draw(7, 16))
        w = draw(8, 16, 16, 3, 3) / 12
        self.recur = PreparedRecurrence(w, w, torch.ones(3, 16), torch.zeros(3, 16), 2, True)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b, c = torch.split(self.reduce(x), 8, 1)
        y = self.recur(self.fuse(a, self.wide(b), self.far(c)))
        halved = pool2x2(y, "mean")
        after = image(*halved.shape)
        run(lambda given, out: out.copy_(given.sigmoid()), halved, after)
        return self.fuse(*torch.split(self.reduce(x), 12, 1), addends=[after]), after, None


def plan_of(form: Callable[[Tensor], tuple[Tensor | None, ...]], shape: tuple[int, ...]) -> Plan:
    with Recording() as recording:
        entry = image(*shape)
        return recording.plan((entry,), form(entry))


SHAPE = (2, 12, 22, 18)


@pytest.mark.parametrize("shape", [SHAPE, (1, 12, 40, 64), (3, 12, 7, 9)])
def test_repeats_give_the_same_bits_for_other_values(shape: tuple[int, int, int, int]) -> None:
    form = Form()
    plan = plan_of(form, shape)
    for seed in range(3):
        x = draw(seed, *shape)
        got, wanted = plan.run((x,)), form(x)
        assert got is not None
        assert got[2] is None
        for one, other in zip(got[:2], wanted[:2], strict=True):
            assert one is not None
            assert other is not None
            assert torch.equal(one, other)
            assert one.stride() == other.stride()


def test_results_are_fresh_and_nothing_is_read_before_it_is_written(nan_memory: None) -> None:
    plan = plan_of(Form(), SHAPE)
    first, second = plan.run((draw(0, *SHAPE),)), plan.run((draw(1, *SHAPE),))
    again = plan.run((draw(0, *SHAPE),))
    assert first is not None
    assert second is not None
    assert again is not None
    assert torch.equal(first[0], again[0])  # type: ignore[arg-type]
    assert not torch.equal(first[0], second[0])  # type: ignore[arg-type]


def test_what_is_not_finite_stops_the_run_and_the_next_one_is_right() -> None:
    form = Form()
    plan = plan_of(form, SHAPE)
    x = draw(0, *SHAPE)
    x[0, 0, 3, 3] = torch.nan
    with pytest.raises(NotFinite):
        plan.run((x,))
    good = plan.run((draw(0, *SHAPE),))
    assert good is not None
    assert torch.equal(good[0], form(draw(0, *SHAPE))[0])  # type: ignore[arg-type]


def test_a_second_thread_is_sent_away() -> None:
    entered, leave = threading.Event(), threading.Event()

    def form(x: Tensor) -> tuple[Tensor]:
        y = image(*x.shape)

        def wait(given: Tensor, out: Tensor) -> None:
            entered.set()
            leave.wait(30)
            out.copy_(given)

        run(wait, x, y)
        return (y,)

    plan = plan_of(form, (1, 1, 2, 2))
    x = torch.ones(1, 1, 2, 2)
    other = threading.Thread(target=plan.run, args=((x,),))
    other.start()
    assert entered.wait(30)
    assert plan.run((x,)) is None
    leave.set()
    other.join()
    assert plan.run((x,)) is not None


def test_repeated_in_and_out_of_inference_mode() -> None:
    plan = plan_of(Form(), SHAPE)
    with torch.inference_mode():
        inside = plan.run((draw(0, *SHAPE),))
    outside = plan.run((draw(0, *SHAPE),))
    assert inside is not None
    assert outside is not None
    assert torch.equal(inside[0], outside[0])  # type: ignore[arg-type]


def test_memory_that_nobody_reads_again_is_used_again() -> None:
    def chain(x: Tensor) -> tuple[Tensor]:
        for _ in range(20):
            x = PreparedConv(torch.eye(4)[:, :, None, None])(x)
        return (x,)

    with Recording() as recording:
        entry = image(1, 4, 16, 16)
        outputs = chain(entry)
        room(1000)  # never used
        recording.stage((entry,), outputs)
        buffers = list(recording._live().values())
    assert len(buffers) == 21
    assert _layout(buffers)[1] == 2 * 4 * 16 * 16


def test_a_later_stage_reads_what_an_earlier_one_wrote(nan_memory: None) -> None:
    first, second = (PreparedConv(draw(seed, 6, 6, 1, 1)) for seed in (1, 2))
    with Recording() as recording:
        entry = image(1, 6, 9, 9)
        kept = first(entry)
        recording.stage((entry,), (second(kept),))
        more = image(1, 6, 9, 9)
        recording.stage((more,), (second(kept), first(more), None))
        one, two = recording.plans()
    for seed in range(2):
        x, y = draw(seed, 1, 6, 9, 9), draw(seed + 9, 1, 6, 9, 9)
        assert torch.equal(one.run((x,))[0], second(first(x)))  # type: ignore[index,arg-type]
        again, other, nothing = two.run((y,))  # type: ignore[misc]
        assert torch.equal(again, second(first(x)))
        assert torch.equal(other, first(y))
        assert nothing is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda size, first, more: _Buffer(size, first, first + more),
            st.integers(1, 100),
            st.integers(0, 9),
            st.integers(0, 5),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_buffers_in_use_together_never_overlap(buffers: list[_Buffer]) -> None:
    buffers.sort(key=lambda buffer: buffer.first)
    offsets, size = _layout(buffers)
    for i, one in enumerate(buffers):
        assert offsets[i] % 16 == 0
        assert offsets[i] + one.size <= size
        for j, other in enumerate(buffers[:i]):
            if one.first <= other.last and other.first <= one.last:
                apart = offsets[i] >= offsets[j] + other.size or offsets[j] >= offsets[i] + one.size
                assert apart
