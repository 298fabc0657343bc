"""The objective: task, alignment, decorrelation, variance and orthogonality; over one process or several.

In a process group every process holds some rows of the batch; its gradients are its rows' part of those of
the whole batch, so that their sum over the processes is what one process would have (where
DistributedDataParallel averages, multiply the loss by the number of processes).
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from spinecore import ops
from spinecore.nn import distributed_covariance_penalty, distributed_orthogonality_penalty, gathered_rows

from .alignment import contrastive_loss
from .config import DSRSDConfig
from .network import Prediction
from .samples import Samples

Group = dist.ProcessGroup | None


def task_loss(
    outcome: Tensor, steps: Tensor, batch: Samples, step_weight: float, group: Group = None
) -> Tensor:
    """Cross-entropy of the outcome plus that of the answers, each the mean over what is known in the whole
    batch.
    """
    loss = outcome.new_zeros(())
    if outcome.shape[-1]:
        known = batch.outcome >= 0
        total = F.cross_entropy(outcome[known], batch.outcome[known], reduction="sum")
        loss = loss + total / _count(known, group)
    if steps.shape[-1]:
        known = batch.steps >= 0
        answers = batch.steps[known].to(steps.dtype)
        total = F.binary_cross_entropy_with_logits(steps[known], answers, reduction="sum")
        loss = loss + step_weight * total / _count(known, group)
    return loss


def _count(known: Tensor, group: Group) -> Tensor:
    count = known.sum()
    if group is not None:
        dist.all_reduce(count, group=group)
    return count.clamp_min(1)


def alignment_loss(out: Prediction, batch: Samples, config: DSRSDConfig, group: Group = None) -> Tensor:
    """Mean over pairs of modalities of InfoNCE and of the regressions of each shared factor on the other.

    At the last step, among samples that have both; the target of a regression passes no gradient. Every
    process of a group computes it over all rows.
    """
    rows = torch.arange(len(batch))
    parts = (out.aligned, out.regressed, out.shared[rows, batch.last].detach(), batch.present, batch.group)
    if group is not None:
        parts = tuple(gathered_rows(x, group) for x in parts)  # type: ignore[assignment]
    aligned, regressed, shared, present, person = parts
    count = present.shape[1]
    loss = aligned.sum() * 0.0
    for a in range(count):
        for b in range(a + 1, count):
            both = present[:, a] & present[:, b]
            loss = loss + contrastive_loss(
                aligned[both, a], aligned[both, b], config.temperature, person[both]
            )
            off = (regressed[both, a, b] - shared[both, b]).square().sum()
            off = off + (regressed[both, b, a] - shared[both, a]).square().sum()
            loss = loss + config.regression * off / (2 * both.sum().clamp_min(1) * shared.shape[-1])
    return loss / max(count * (count - 1) // 2, 1)


def _orthogonality(a: Tensor, b: Tensor, rows: Tensor, group: Group) -> Tensor:
    """MISA's difference loss over (rows / k)^2, which it grows with: then it is the mean squared correlation
    of unit rows.
    """
    a, b = a[rows].contiguous(), b[rows].contiguous()
    if group is None:
        penalty = ops.orthogonality_penalty(a, b)
    else:
        penalty = distributed_orthogonality_penalty(a, b, process_group=group)
    return penalty * (a.shape[1] / _count(rows, group)) ** 2


def _covariance(z: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    if group is None:
        return ops.covariance_penalty(z.contiguous())
    return distributed_covariance_penalty(z, process_group=group)


def factor_losses(out: Prediction, batch: Samples, group: Group = None) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance, variance hinge and orthogonality of the factors at all existing steps.

    Covariance and hinge: mean over modalities on s, plus that of all modalities' rows together.
    Orthogonality: mean over modalities of (s, p) plus mean over pairs of modalities of (p, p).
    """
    count = batch.present.shape[1]
    here = batch.valid[..., None] & batch.present[:, None]
    covariance = hinge = orthogonal = out.shared.sum() * 0.0
    for m in range(count):
        rows = here[..., m]
        off, low = _covariance(out.shared[:, :, m][rows], group)
        covariance, hinge = covariance + off / count, hinge + low / count
        diff = _orthogonality(out.shared[:, :, m], out.private[:, :, m], rows, group)
        orthogonal = orthogonal + diff / count
    off, low = _covariance(out.shared[here], group)
    covariance, hinge = covariance + off, hinge + low
    for a in range(count):
        for b in range(a + 1, count):
            rows = here[..., a] & here[..., b]
            diff = _orthogonality(out.private[:, :, a], out.private[:, :, b], rows, group)
            orthogonal = orthogonal + diff / (count * (count - 1) // 2)
    return covariance, hinge, orthogonal


def objective(
    out: Prediction, batch: Samples, config: DSRSDConfig, group: Group = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum and its parts; a loss of weight 0 is not computed."""
    parts = {"task": task_loss(out.outcome, out.steps, batch, config.next_step_weight, group)}
    loss = parts["task"]
    if config.stream_task > 0:
        count = batch.present.shape[1]
        stream = loss * 0.0
        for m in range(count):
            stream = stream + _stream_loss(out, batch, m, config, group) / count
        parts["stream"], loss = stream, loss + config.stream_task * stream
    if config.align > 0:
        parts["align"] = alignment_loss(out, batch, config, group)
        loss = loss + config.align * parts["align"]
    if config.decorrelation > 0 or config.variance > 0 or config.orthogonality > 0:
        covariance, hinge, orthogonal = factor_losses(out, batch, group)
        parts |= {"covariance": covariance, "variance": hinge, "orthogonality": orthogonal}
        loss = loss + config.decorrelation * covariance + config.variance * hinge
        loss = loss + config.orthogonality * orthogonal
    if config.private_spread > 0:
        parts["private"] = private_loss(out, batch, group)
        loss = loss + config.private_spread * parts["private"]
    return loss, {k: v.detach() for k, v in parts.items()}


def private_loss(out: Prediction, batch: Samples, group: Group = None) -> Tensor:
    """Covariance plus variance hinge of the private factors, mean over modalities. Our addition."""
    here = batch.valid[..., None] & batch.present[:, None]
    count = batch.present.shape[1]
    parts = [sum(_covariance(out.private[:, :, m][here[..., m]], group)) for m in range(count)]
    return torch.stack([torch.as_tensor(part) for part in parts]).mean()


def _stream_loss(out: Prediction, batch: Samples, m: int, config: DSRSDConfig, group: Group) -> Tensor:
    """The task loss of one modality's own head on the samples that have it."""
    here = batch.present[:, m]
    seen = replace(
        batch,
        outcome=torch.where(here, batch.outcome, -1),
        steps=torch.where(here[:, None], batch.steps, -1),
    )
    steps = out.stream_steps[:, :, m]
    return task_loss(out.stream_outcome[:, m], steps, seen, config.next_step_weight, group)
