"""DSRSD-Net: encoders, residual projection, gated fusion and predictors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .alignment import AlignmentHead
from .config import DSRSDConfig
from .encoders import ColumnEmbedding, Encoder
from .fusion import GatedFusion, fuse
from .projection import ResidualProjection


class Prediction(NamedTuple):
    """What the model says. B samples, T steps (1 without sequences), M modalities, k factors, C outcomes.

    Attributes:
        outcome: (B, C) logits from the last step of each sample; C = 0 when none is predicted.
        steps: (B, T) logits of a yes at each step; T = 0 when none is predicted.
        gates: (B, T, M), sum 1 over what is present.
        shared, private: (B, T, M, k).
        aligned: (B, M, k), unit norm, at the last step.
        regressed: (B, M, M, k), what modality [:, a] says of the shared factor of [:, b] at the last step.
        stream_outcome, stream_steps: the same from each modality alone, (B, M, C) and (B, T, M); empty
            without stream heads.

    """

    outcome: Tensor
    steps: Tensor
    gates: Tensor
    shared: Tensor
    private: Tensor
    aligned: Tensor
    regressed: Tensor
    stream_outcome: Tensor
    stream_steps: Tensor


class Head(nn.Module):
    """Predictors of the final outcome and of the next step on one kind of features."""

    def __init__(self, width: int, config: DSRSDConfig, hidden: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Dropout(config.dropout), *([nn.Linear(width, hidden), nn.GELU()] if hidden else [])
        )
        features = hidden or width
        self.outcome = nn.Linear(features, config.outcomes) if config.outcomes else None
        self.step = nn.Linear(features, 1) if config.next_step else None

    def forward(self, features: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F) and the last step (B,) -> outcome logits (B, C) and step logits (B, T)."""
        features = self.body(features)
        rows = torch.arange(features.shape[0], device=features.device)
        none = features.new_zeros((features.shape[0], 0))
        outcome = self.outcome(features[rows, last]) if self.outcome is not None else none
        steps = self.step(features).squeeze(-1) if self.step is not None else none
        return outcome, steps


def last_step(valid: Tensor) -> Tensor:
    """Index of the last valid step of (B, T), 0 where there is none."""
    at = torch.arange(valid.shape[1], device=valid.device)
    return torch.where(valid, at, 0).amax(1)


class DSRSDNet(nn.Module):
    """Dual-stream network over any number of modalities (arXiv 2512.07568's mechanisms; sizes are ours).

    ``forward(present, valid, *inputs)``: present (B, M) bool, valid (B, T) bool marks the steps that exist
    (T = 1 without sequences), one tensor a modality as in :class:`ModalityConfig`. What is absent may hold
    any finite value or NaN; it has no effect on any output of the sample.
    """

    def __init__(self, config: DSRSDConfig) -> None:
        super().__init__()
        self.config = config
        count, k = len(config.modalities), config.factors
        self.encoders = nn.ModuleList(Encoder(m, config) for m in config.modalities)
        self.projections = nn.ModuleList(
            ResidualProjection(config.width, k, hard=config.projection == "hard") for _ in range(count)
        )
        self.alignment = AlignmentHead(k, tuple(m.name for m in config.modalities))
        self.fusion = GatedFusion(k, count)
        self.head = Head(k * (count + 1), config, config.width)
        self.stream_heads = nn.ModuleList(
            Head(2 * k, config) for _ in range(count if config.stream_task > 0 else 0)
        )

    def fit_columns(self, inputs: list[Tensor], present: Tensor, valid: Tensor) -> None:
        """Standardise numeric columns with the figures of these training samples."""
        for m, encoder in enumerate(self.encoders):
            assert isinstance(encoder, Encoder)
            if isinstance(encoder.embed, ColumnEmbedding):
                rows = inputs[m][present[:, m]]
                encoder.embed.fit(rows[valid[present[:, m]]] if encoder.stepwise else rows)

    def forward(self, present: Tensor, valid: Tensor, *inputs: Tensor) -> Prediction:
        """Predictions with the gates and factors behind them."""
        steps = valid.shape[1]
        shared, private = [], []
        for m, (encoder, projection) in enumerate(zip(self.encoders, self.projections, strict=True)):
            here = present[:, m].view(-1, 1, 1)
            streams = projection(
                encoder(inputs[m].masked_fill(~here.view(-1, *[1] * (inputs[m].dim() - 1)), 0))
            )
            shared.append(streams.shared.masked_fill(~here, 0.0).expand(-1, steps, -1))
            private.append(streams.private.masked_fill(~here, 0.0).expand(-1, steps, -1))
        s, p = torch.stack(shared, 2), torch.stack(private, 2)
        return self.predict(s, p, present, valid)

    def predict(
        self, s: Tensor, p: Tensor, present: Tensor, valid: Tensor, gates: Tensor | None = None
    ) -> Prediction:
        """Predictions from factors (B, T, M, k); ``gates`` (B, T, M) replaces the model's own."""
        steps, last = valid.shape[1], last_step(valid)
        fused, own = self.fusion(s, p, present[:, None].expand(-1, steps, -1))
        outcome, step = self.head(fused if gates is None else fuse(s, p, gates), last)
        alone = [
            head(torch.cat((s[:, :, m], p[:, :, m]), -1), last) for m, head in enumerate(self.stream_heads)
        ]
        none = s.new_zeros((s.shape[0], 0))
        if alone:
            # Each modality's own answer counts with its gate, so that a good one is never lost in the fusion.
            share = own if gates is None else gates
            at = share[torch.arange(s.shape[0], device=s.device), last]
            outcome = outcome + (at[..., None] * torch.stack([a[0] for a in alone], 1)).sum(1)
            if step.shape[1]:
                step = step + (share * torch.stack([a[1] for a in alone], 2)).sum(2)
        return Prediction(
            outcome,
            step,
            own if gates is None else gates,
            s,
            p,
            *self.align(s, last),
            torch.stack([a[0] for a in alone], 1) if alone else none,
            torch.stack([a[1] for a in alone], 2) if alone else none,
        )

    def align(self, s: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Aligned shared factors and their regressions on each other, at the last step."""
        at = s[torch.arange(s.shape[0], device=s.device), last]
        head, count = self.alignment, s.shape[2]
        regressed = [
            torch.stack([at[:, b] if a == b else head.predicted(a, b, at[:, a]) for b in range(count)], 1)
            for a in range(count)
        ]
        return head(at), torch.stack(regressed, 1)
