"""What DSRSD-Net is compared with, on the same encoders: one modality, early, late, co-attention, MISA."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spinecore import ops

from .config import DSRSDConfig
from .encoders import ColumnEmbedding, Encoder
from .network import Head, last_step
from .samples import Samples

METHODS = ("early", "late", "coattention", "misa")


class Answer(NamedTuple):
    """Logits as in `Prediction`, and the method's own loss."""

    outcome: Tensor
    steps: Tensor
    extra: Tensor


class Baseline(nn.Module):
    """Encoders and a way to fuse them. Absent modalities enter as zeros.

    Methods: "early" concatenates the encodings and classifies them together (raw columns of a sequence and
    of a vector cannot be concatenated as they are); "late" averages each modality's own logits;
    "coattention" lets the modalities attend to each other and concatenates (Lu et al. 2019, ViLBERT's idea
    at one token a modality); "misa" after Hazarika et al. 2020.
    """

    def __init__(self, config: DSRSDConfig, method: str) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"baseline {method!r} is unknown; use one of {', '.join(METHODS)}")
        self.config, self.method = config, method
        count, d = len(config.modalities), config.width
        self.encoders = nn.ModuleList(Encoder(m, config) for m in config.modalities)
        if method == "late":
            self.heads = nn.ModuleList(Head(d, config) for _ in range(count))
            return
        if method == "coattention":
            self.attention = nn.MultiheadAttention(d, 4 if d % 4 == 0 else 1, batch_first=True)
            self.norm = nn.LayerNorm(d)
        if method == "misa":
            self.misa = MISAFusion(d, config.factors, count)
        features = 2 * count * config.factors if method == "misa" else count * d
        self.head = Head(features, config, d)

    def fit_columns(self, inputs: list[Tensor], present: Tensor, valid: Tensor) -> None:
        """Standardise numeric columns with the figures of these training samples."""
        for m, encoder in enumerate(self.encoders):
            assert isinstance(encoder, Encoder)
            if isinstance(encoder.embed, ColumnEmbedding):
                rows = inputs[m][present[:, m]]
                encoder.embed.fit(rows[valid[present[:, m]]] if encoder.stepwise else rows)

    def forward(self, present: Tensor, valid: Tensor, *inputs: Tensor) -> Answer:
        """Predictions of the baseline; arguments as in `DSRSDNet.forward`."""
        steps, last = valid.shape[1], last_step(valid)
        encoded = []
        for m, encoder in enumerate(self.encoders):
            x = inputs[m].masked_fill(~present[:, m].view(-1, *[1] * (inputs[m].dim() - 1)), 0)
            encoded.append(encoder(x).masked_fill(~present[:, m].view(-1, 1, 1), 0).expand(-1, steps, -1))
        h = torch.stack(encoded, 2)
        none = h.new_zeros(())
        if self.method == "late":
            answers = [head(h[:, :, m], last) for m, head in enumerate(self.heads)]
            share = present / present.sum(1, keepdim=True).clamp_min(1)
            outcome = (torch.stack([a[0] for a in answers], 1) * share[..., None]).sum(1)
            stepwise = torch.stack([a[1] for a in answers], 1)
            return Answer(outcome, (stepwise * share[..., None]).sum(1), none)
        extra = none
        if self.method == "coattention":
            tokens = h.flatten(0, 1)
            hidden = ~present[:, None].expand(-1, steps, -1).flatten(0, 1)
            hidden = hidden & ~hidden.all(-1, keepdim=True)
            got = self.attention(tokens, tokens, tokens, key_padding_mask=hidden, need_weights=False)[0]
            h = self.norm(tokens + got).view_as(h)
        if self.method == "misa":
            h, extra = self.misa(h, present, valid)
        outcome, step = self.head(h.flatten(-2), last)
        return Answer(outcome, step, extra)


class MISAFusion(nn.Module):
    """Private and weight-tied shared vectors of each modality, a transformer layer over them, three losses.

    Hazarika et al. 2020: difference 0.3, similarity (central moment discrepancy) 1.0 -> here the squared
    distance of means and variances, reconstruction 1.0 as published. Shapes: (B, T, M, d) -> (B, T, 2M, k).
    """

    def __init__(self, width: int, factors: int, count: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Sequential(nn.Linear(width, factors), nn.GELU(), nn.LayerNorm(factors)) for _ in range(count)
        )
        self.private = nn.ModuleList(nn.Linear(factors, factors) for _ in range(count))
        self.shared = nn.Linear(factors, factors)
        self.rebuild = nn.ModuleList(nn.Linear(factors, factors) for _ in range(count))
        heads = 2 if factors % 2 == 0 else 1
        self.mix = nn.TransformerEncoderLayer(factors, heads, 2 * factors, 0.1, batch_first=True)

    def forward(self, h: Tensor, present: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Fused vectors and the weighted sum of MISA's losses."""
        count = h.shape[2]
        x = [net(h[:, :, m]) for m, net in enumerate(self.project)]
        private = [torch.sigmoid(net(x[m])) for m, net in enumerate(self.private)]
        shared = [torch.sigmoid(self.shared(one)) for one in x]
        loss = h.new_zeros(())
        here = valid[..., None] & present[:, None]
        for m, net in enumerate(self.rebuild):
            rows = here[..., m]
            loss = loss + (net(private[m] + shared[m]) - x[m])[rows].square().sum() / (
                rows.sum().clamp_min(1) * x[m].shape[-1] * count
            )
            loss = loss + 0.3 * _difference(private[m][rows], shared[m][rows])
            for n in range(m):
                both = rows & here[..., n]
                loss = loss + 0.3 * _difference(private[m][both], private[n][both])
                loss = loss + _moments(shared[m][both], shared[n][both]) / max(count * (count - 1) // 2, 1)
        tokens = torch.stack((*private, *shared), 2)
        mixed: Tensor = self.mix(tokens.flatten(0, 1)).view_as(tokens)
        return mixed, loss


def _difference(a: Tensor, b: Tensor) -> Tensor:
    return ops.orthogonality_penalty(a.contiguous(), b.contiguous())


def _moments(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of the first two moments; 0 with fewer than two rows."""
    if len(a) < 2:
        return a.sum() * 0.0
    return (a.mean(0) - b.mean(0)).square().mean() + (a.var(0) - b.var(0)).square().mean()


def baseline_samples(samples: Samples, modality: str) -> Samples:
    """Samples with one modality alone."""
    names = [m.name for m in samples.modalities]
    return samples.only([names.index(modality)])
