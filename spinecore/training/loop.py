"""The training loop: AdamW, warm-up, constant, linear decay; moving average of the weights; exact resume."""

from __future__ import annotations

import copy
import csv
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from .checkpoint import load_checkpoint, save_checkpoint
from .curves import draw_curves
from .task import TrainingTask


@dataclass(frozen=True)
class Schedule:
    """Options of the loop. Rate: linear warm-up, constant, linear to 1 % over the last `decay` share."""

    steps: int
    lr: float = 1.5e-3
    warmup: int = 60
    decay: float = 0.4
    weight_decay: float = 1e-3
    clip: float = 2.0
    ema: float = 0.995
    log_every: int = 20
    validate_every: int = 500
    save_every: int = 100
    bf16: bool = True

    def rate(self, step: int) -> float:
        """Learning rate of step `step`."""
        progress = step / max(self.steps, 1)
        ramp = min(1.0, (step + 1) / max(self.warmup, 1))
        fall = 1.0 if progress < 1 - self.decay else max(0.01, (1 - progress) / self.decay)
        return self.lr * ramp * fall


@dataclass
class Progress:
    """What the loop reports after each step."""

    step: int
    steps: int
    loss: float
    seconds_per_step: float


def _average(ema: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for a, b in zip(ema.state_dict().values(), model.state_dict().values(), strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(b, 1 - decay)
            else:
                a.copy_(b)


def _channels_last(model: nn.Module) -> nn.Module:
    """The layout of images for convolutions of images; `Module.to` would want it of those of volumes too."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return model


class CsvLog:
    """Rows appended to a CSV file whose columns are set by the first row; cut back to `step` on resume."""

    def __init__(self, path: Path, upto: int) -> None:
        self.path = path
        if path.exists():
            with path.open(newline="") as f:
                rows = [r for r in csv.DictReader(f) if int(r["step"]) <= upto]
            path.unlink()
            for row in rows:
                self.add(row)

    def add(self, row: dict[str, float] | dict[str, str]) -> None:
        """Append a row."""
        new = not self.path.exists()
        with self.path.open("a", newline="") as f:
            writer = csv.DictWriter(f, fieldnames=list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def train(
    task: TrainingTask,
    schedule: Schedule,
    run: Path,
    *,
    initial: dict[str, torch.Tensor] | None = None,
    report: Callable[[Progress], None] | None = None,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Train into folder `run`, going on from `run/checkpoint.safetensors` when it is there.

    Writes checkpoint.safetensors, train.csv, validation.csv, curves.png and weights.safetensors (moving
    average). `initial` are starting weights; `stop_after` ends this call early, resumable. Returns the last
    validation figures.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = _channels_last(task.build())
    if initial is not None:
        model.load_state_dict(initial)
    ema = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay, betas=(0.9, 0.98), fused=True
    )
    checkpoint = run / "checkpoint.safetensors"
    step, trained = 0, 0.0
    figures: dict[str, float] = {}
    if checkpoint.exists():
        meta = load_checkpoint(checkpoint, model, ema, optimizer)
        step, trained, figures = meta["step"], meta["seconds"], meta["figures"]
    log = CsvLog(run / "train.csv", step)
    validation = CsvLog(run / "validation.csv", step)

    def keep() -> None:
        meta = {"step": step, "seconds": trained, "figures": figures, "schedule": asdict(schedule)}
        save_checkpoint(checkpoint, model, ema, optimizer, meta)

    end = schedule.steps if stop_after is None else min(schedule.steps, step + stop_after)
    sums: dict[str, float] = {}
    count = 0
    model.train()
    while step < end:
        begin = time.perf_counter()
        rate = schedule.rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bf16):
            loss, parts = task.loss(model, step)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"loss is {float(loss.detach())} at step {step}; lower --lr (now {schedule.lr}) and resume"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        optimizer.step()
        step += 1
        _average(ema, model, min(schedule.ema, (1 + step) / (10 + step)))
        parts = {"loss": float(loss.detach()), **parts}
        for k, v in parts.items():
            sums[k] = sums.get(k, 0.0) + v
        count += 1
        trained += time.perf_counter() - begin
        if report is not None:
            report(Progress(step, schedule.steps, parts["loss"], trained / step))
        if step % schedule.log_every == 0 or step == schedule.steps:
            means = {k: v / count for k, v in sums.items()}
            log.add(
                {"step": step, "epoch": step / task.steps_per_epoch, "lr": rate, "seconds": trained, **means}
            )
            sums, count = {}, 0
        if step % schedule.validate_every == 0 or step == schedule.steps:
            ema.eval()
            figures = task.validate(ema)
            validation.add({"step": step, **figures})
            draw_curves(run / "train.csv", run / "validation.csv", run / "curves.png")
            task.save(ema, run / "weights.safetensors", {"step": step, **figures})
        if step % schedule.save_every == 0 or step == end:
            keep()
    return figures
