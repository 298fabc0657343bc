"""Training on samples in memory: mini-batches, early stopping on validation people, the best weights kept."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from spinecore.metrics import accuracy, roc_auc

from .baselines import Baseline
from .losses import Group, objective, task_loss
from .network import DSRSDNet
from .samples import Index, Samples, hide_modalities

Model = DSRSDNet | Baseline


@dataclass(frozen=True)
class FitOptions:
    """Options of a run. AdamW with a cosine after 5 % warm-up; stops after `patience` epochs without a
    better figure.

    Attributes:
        average: decay of the moving average of the weights, which is what is judged and kept.
        keep_last: train all epochs and keep the last weights, whatever their figure.

    """

    epochs: int = 50
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-4
    patience: int = 8
    clip: float = 1.0
    average: float = 0.99
    keep_last: bool = False


def batch_loss(model: Model, batch: Samples, group: Group = None) -> tuple[Tensor, dict[str, Tensor]]:
    """The training loss of one batch, with its parts for the log."""
    out = model(batch.present, batch.valid, *batch.inputs)
    if isinstance(model, DSRSDNet):
        return objective(out, batch, model.config, group)
    task = task_loss(out.outcome, out.steps, batch, model.config.next_step_weight, group)
    return task + out.extra, {"task": task.detach(), "extra": out.extra.detach()}


@dataclass(frozen=True)
class Scores:
    """Probabilities of samples: outcome (N, C), steps (N, T); empty where none is predicted."""

    outcome: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    steps: np.ndarray[tuple[int, int], np.dtype[np.float64]]


def score(model: nn.Module, samples: Samples, batch: int = 512) -> Scores:
    """Probabilities of all samples, in their order."""
    model.eval()
    outcome, steps = [], []
    width = samples.valid.shape[1]
    order = samples.valid.sum(1).argsort(stable=True)  # of like length together: little padding
    with torch.no_grad():
        for begin in range(0, len(samples), batch):
            at = order[begin : begin + batch]
            part = samples.batch(at)
            out = model(part.present, part.valid, *part.inputs)
            outcome.append(out.outcome.double().softmax(-1).numpy())
            got = out.steps.double().sigmoid().numpy()
            steps.append(np.pad(got, ((0, 0), (0, width - got.shape[1]))) if got.shape[1] else got)
    back = order.argsort().numpy()
    return Scores(np.concatenate(outcome)[back], np.concatenate(steps)[back])


def figure_of(samples: Samples, scores: Scores) -> float:
    """The figure that stops training: mean AUC of answers and of a two-class outcome, else accuracy."""
    found: list[float] = []
    if scores.steps.shape[1]:
        truth = samples.steps.numpy()
        known = truth >= 0
        found.append(roc_auc(truth[known], scores.steps[known]))
    if scores.outcome.shape[1]:
        truth = samples.outcome.numpy()
        known = truth >= 0
        if scores.outcome.shape[1] == 2:
            found.append(roc_auc(truth[known], scores.outcome[known, 1]))
        else:
            found.append(accuracy(truth[known], scores.outcome[known].argmax(1)))
    return float(np.mean(found))


def epoch_batches(lengths: Tensor, size: int, draw: torch.Generator, pool: int = 16) -> list[Tensor]:
    """Indices of the batches of an epoch, in random order; samples (N,) of like length go together.

    Lengths are sorted within pools of `pool` batches only, so that batches differ from epoch to epoch; what
    is saved is the work on padding. With one length for all it is a plain shuffle.
    """
    order = torch.randperm(len(lengths), generator=draw)
    even = not len(lengths) or bool((lengths == lengths[0]).all())
    found: list[Tensor] = []
    for begin in range(0, len(order), size * pool):
        part = order[begin : begin + size * pool]
        part = part if even else part[lengths[part].argsort(stable=True)]
        found += [part[at : at + size] for at in range(0, len(part), size)]
    return found if even else [found[int(i)] for i in torch.randperm(len(found), generator=draw)]


def fit(
    model: Model,
    samples: Samples,
    train: Index,
    validation: Index,
    options: FitOptions,
    seed: int,
) -> float:
    """Train `model` in place on `train`, keeping the weights best on `validation`; returns their figure.

    A moving average of the weights is what is validated and kept.
    """
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    seen = samples.take(train)
    held = samples.take(validation)
    model.fit_columns(list(seen.inputs), seen.present, seen.valid)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    total = options.epochs * max(1, -(-len(seen) // options.batch))
    step, best, stale = 0, -np.inf, 0
    state = copy.deepcopy(average.state_dict())
    for _ in range(options.epochs):
        model.train()
        for at in epoch_batches(seen.valid.sum(1), options.batch, draw):
            if len(at) < min(8, len(seen)):
                continue
            batch = seen.batch(at)
            hidden = hide_modalities(batch.present, model.config.modality_dropout, draw)
            batch = replace(batch, present=hidden)
            warm = min(1.0, (step + 1) / max(1.0, 0.05 * total))
            for group in optimizer.param_groups:
                group["lr"] = options.lr * warm * (0.02 + 0.49 * (1 + np.cos(np.pi * step / total)))
            loss, _ = batch_loss(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()
            step += 1
            _follow(average, model, min(options.average, (1 + step) / (10 + step)))
        figure = figure_of(held, score(average, held))
        if figure > best or options.keep_last:
            best, stale, state = figure, 0, copy.deepcopy(average.state_dict())
        else:
            stale += 1
            if stale >= options.patience:
                break
    model.load_state_dict(state)
    model.eval()
    return best


def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for a, b in zip(average.parameters(), model.parameters(), strict=True):
            a.lerp_(b, 1 - decay)
