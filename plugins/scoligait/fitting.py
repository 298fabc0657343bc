"""Loss and a plain training loop in memory, for studies; `spinecore train` has its own loop over the same
loss.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .network import ScoliGait
from .samples import Clips, Index

SMOOTHING = 0.05
SEVERITY_WEIGHT = 1.0
"""Of the squared error of the severity beside the cross-entropy. Both our choice: the paper names no loss."""


@dataclass(frozen=True)
class FitOptions:
    """AdamW, 5 % warm-up, cosine; all epochs are trained and the moving average of the weights is kept."""

    epochs: int = 20
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    clip: float = 1.0
    average: float = 0.98


def class_weights(outcome: Tensor, classes: int) -> Tensor:
    """Inverse frequency of each class, mean 1 over the samples."""
    count = torch.bincount(outcome[outcome >= 0], minlength=classes).clamp(min=1).float()
    return count.sum() / (classes * count)


def hide(present: Tensor, share: float, draw: torch.Generator) -> Tensor:
    """Hide that share of the modalities there are; a sample keeps one at least."""
    if share <= 0:
        return present
    kept = present & (torch.rand(present.shape, generator=draw) >= share)
    return torch.where(kept.any(1, keepdim=True), kept, present)


def batch_loss(
    model: ScoliGait, batch: Clips, weights: Tensor, draw: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Class-weighted cross-entropy, and the squared error of the severity where it is known."""
    present, valid, *inputs = batch.inputs(model.config, draw)
    seen = hide(present, model.config.modality_dropout, draw)
    out, every = model.answer(seen, valid, model.named(inputs))
    task = F.cross_entropy(out.logits, batch.outcome, weights, label_smoothing=SMOOTHING)
    loss, parts = task, {"class": float(task.detach())}
    if every:
        own = _own_loss(every, present, batch.outcome, weights)
        loss = loss + model.config.experts * own
        parts["own"] = float(own.detach())
    known = torch.isfinite(batch.severity)
    if known.any():
        error = (out.severity - batch.severity)[known].square().mean()
        loss = loss + SEVERITY_WEIGHT * error
        parts["severity"] = float(error.detach())
    return loss, parts


def _own_loss(every: list[Tensor], present: Tensor, outcome: Tensor, weights: Tensor) -> Tensor:
    """Mean over the fused answer and those of the modalities there are, hidden ones too: each is trained."""
    there = torch.cat([torch.ones_like(present[:, :1]), present], 1).to(weights.dtype)
    count, answers = there.shape
    flat = torch.stack(every, 1).flatten(0, 1)
    repeated = outcome[:, None].expand(-1, answers).reshape(-1)
    loss = F.cross_entropy(flat, repeated, weights, reduction="none", label_smoothing=SMOOTHING)
    return (loss.view(count, answers) * there).sum() / (there * weights[outcome][:, None]).sum()


def fit_stems(model: ScoliGait, seen: Clips, weights: Tensor) -> None:
    """What is fitted before training: the columns' means and spreads, and the linear answer."""
    model.fit_columns(seen.map, seen.valid)
    if model.config.linear_columns:
        model.linear.fit(model.map.standard(seen.map), seen.valid, seen.outcome, weights)


def fit(model: ScoliGait, clips: Clips, train: Index, options: FitOptions, seed: int) -> None:
    """Train in place on the clips of `train`; random numbers follow from `seed`."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    seen = clips.take(train)
    weights = class_weights(seen.outcome, model.config.outcomes)
    fit_stems(model, seen, weights)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.lr, weight_decay=options.weight_decay, betas=(0.9, 0.98), fused=True
    )
    average = copy.deepcopy(model).requires_grad_(False)
    total = options.epochs * max(1, len(seen) // options.batch)
    step = 0
    model.train()
    while step < total:
        order = torch.randperm(len(seen), generator=draw).numpy()
        for begin in range(0, max(1, len(order) - options.batch + 1), options.batch):
            if step >= total:
                break
            warm = min(1.0, (step + 1) / max(1.0, 0.05 * total))
            for group in optimizer.param_groups:
                group["lr"] = options.lr * warm * (0.02 + 0.49 * (1 + np.cos(np.pi * step / total)))
            loss, _ = batch_loss(model, seen.take(order[begin : begin + options.batch]), weights, draw)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()
            step += 1
            decay = min(options.average, (1 + step) / (10 + step))
            with torch.no_grad():
                for a, b in zip(average.parameters(), model.parameters(), strict=True):
                    a.lerp_(b, 1 - decay)
    model.load_state_dict(average.state_dict())
    model.eval()


def probabilities(
    model: ScoliGait, clips: Clips, index: Index, *, hidden: tuple[str, ...] = (), batch: int = 64
) -> NDArray[np.float64]:
    """(N, K) of the clips of `index`; modalities in `hidden` are left out, as if the clips had none."""
    model.eval()
    found = []
    keep = torch.tensor([m not in hidden for m in model.config.modalities])
    with torch.no_grad():
        for begin in range(0, len(index), batch):
            part = clips.take(index[begin : begin + batch])
            present, valid, *inputs = part.inputs(model.config)
            found.append(model(present & keep, valid, *inputs).logits.double().softmax(-1).numpy())
    return np.concatenate(found)


def by_walk(
    values: NDArray[np.float64], walk: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Means over the clips of each walk, and the place of each walk's first clip."""
    _, first, place = np.unique(walk, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), values.shape[1]))
    np.add.at(sums, place, values)
    return sums / np.bincount(place)[:, None], first
