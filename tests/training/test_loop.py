from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from spinecore.training.loop import Schedule, train


class Toy:
    """A regression whose batches follow from the step alone, with dropout-free batch normalisation."""

    steps_per_epoch = 5

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def loss(self, model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        g = torch.Generator().manual_seed(step)
        x = torch.randn(4, 2, 8, 8, generator=g)
        error = (model(x).float() - x.sum(1, keepdim=True)).square().mean()
        return error, {"error": float(error.detach())}

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        with torch.no_grad():
            return {"weight": float(sum(p.abs().sum() for p in model.parameters()))}

    def save(self, model: nn.Module, path: Path, figures: dict[str, float]) -> None:  # noqa: ARG002
        from safetensors.torch import save_file

        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)

    def describe(self) -> dict[str, object]:
        return {}


SCHEDULE = Schedule(steps=40, lr=1e-2, warmup=5, log_every=10, validate_every=20, save_every=7)


def test_an_interrupted_run_ends_bit_for_bit_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = train(Toy(), SCHEDULE, tmp_path / "whole")
    for _ in range(3):
        parts = train(Toy(), SCHEDULE, tmp_path / "parts", stop_after=15)
    assert parts == whole
    for name in ("weights.safetensors", "checkpoint.safetensors"):
        a, b = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    for name in ("train.csv", "validation.csv"):
        rows = [list(csv.DictReader((tmp_path / r / name).open())) for r in ("whole", "parts")]
        for row in (*rows[0], *rows[1]):
            row.pop("seconds", None)
        assert [r["step"] for r in rows[0]] == [r["step"] for r in rows[1]]
    assert (tmp_path / "parts" / "curves.png").stat().st_size > 1000


def test_the_loop_learns(tmp_path: Path) -> None:
    train(Toy(), Schedule(steps=150, lr=1e-2, warmup=5, log_every=50, validate_every=150), tmp_path)
    errors = [float(r["error"]) for r in csv.DictReader((tmp_path / "train.csv").open())]
    assert errors[-1] < 0.1 * errors[0]


KILLED = """
import sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
import test_loop, torch
torch.set_num_threads({threads})
class Slow(test_loop.Toy):
    def loss(self, model, step):
        time.sleep(0.02)
        return super().loss(model, step)
test_loop.train(Slow(), test_loop.SCHEDULE, Path({run!r}))
"""


def test_a_killed_process_resumes_to_the_same_weights(tmp_path: Path) -> None:
    run = tmp_path / "killed"
    code = KILLED.format(here=str(Path(__file__).parent), run=str(run), threads=torch.get_num_threads())
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not (run / "checkpoint.safetensors").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    train(Toy(), SCHEDULE, run)
    train(Toy(), SCHEDULE, tmp_path / "whole")
    a, b = load_file(run / "weights.safetensors"), load_file(tmp_path / "whole" / "weights.safetensors")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_remedy(tmp_path: Path) -> None:
    class Bad(Toy):
        def loss(self, model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
            error, parts = super().loss(model, step)
            return error * float("nan") if step == 3 else error, parts

    with pytest.raises(FloatingPointError, match="step 3"):
        train(Bad(), SCHEDULE, tmp_path)


def test_schedule_warms_up_holds_and_decays() -> None:
    s = Schedule(steps=1000, lr=1.0, warmup=100, decay=0.4)
    assert s.rate(0) == pytest.approx(0.01)
    assert s.rate(300) == 1.0
    assert s.rate(800) == pytest.approx(0.5)
    assert s.rate(999) == pytest.approx(0.01)
