"""The network: three encoders on aligned clip times, latent attention pooling, a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ScoliGaitConfig
from .encoders import MapEncoder, TextEncoder, VideoEncoder
from .fusion import FORMS, masked_mean
from .linear import LinearMap


class ScoliGaitOutput(NamedTuple):
    """`logits` (B, K) of the classes, `severity` (B,) the severity to expect, 0..1."""

    logits: Tensor
    severity: Tensor


class ScoliGait(nn.Module):
    """Gait map, video and text to classes and a severity (after arXiv 2602.06743; sizes ours).

    Inputs of `forward`: `present` (B, M) bool, which modalities a sample has (at least one); `valid` (B, T)
    bool, its frames; then one tensor for each of `config.modalities`: map (B, T, 238) with NaN for missing,
    video (B, F, C, H, W) bytes or in 0..1, text (B, L) token numbers or (B, E) vectors.
    """

    classes: Tensor

    def __init__(self, config: ScoliGaitConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        if "map" in config.modalities:
            self.map = MapEncoder(config)
        if "video" in config.modalities:
            self.video = VideoEncoder(config)
        if "text" in config.modalities:
            self.text = TextEncoder(config)
        timed = [m for m in ("map", "video") if m in config.modalities]
        tables = ["shared"] if config.aligned and timed else timed
        self.places = nn.ParameterDict({t: torch.randn(config.frames, width) * 0.02 for t in tables})
        self.kinds = nn.Parameter(torch.randn(len(config.modalities), width) * 0.02)
        self.fusion = FORMS[config.fusion](config)
        self.head = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.LayerNorm(2 * width),
            nn.ReLU(),
            nn.Dropout(config.head_dropout),
            nn.Linear(2 * width, config.outcomes),
        )
        if config.experts:
            self.experts = nn.ModuleList(nn.Linear(width, config.outcomes) for _ in config.modalities)
            answers = 1 + len(config.modalities) + bool(config.linear_columns)
            self.gates = nn.Parameter(torch.zeros(answers))
        if config.linear_columns:
            self.linear = LinearMap(config)
        self.register_buffer("classes", torch.tensor(config.severities), persistent=False)

    def _place(self, modality: str, count: int) -> Tensor:
        """Positions (count, D) of tokens that share the clip's time evenly: means of the frames they
        cover.
        """
        table = self.places["shared" if self.config.aligned else modality]
        place: Tensor = table.view(count, -1, table.shape[1]).mean(1)
        return place

    def forward(self, present: Tensor, valid: Tensor, *inputs: Tensor) -> ScoliGaitOutput:
        """Classes and severity."""
        return self.from_standard(present, valid, self.named(inputs))

    def named(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Inputs by modality, the map standardised."""
        found = dict(zip(self.config.modalities, inputs, strict=True))
        if "map" in found:
            found["map"] = self.map.standard(found["map"])
        return found

    def from_standard(self, present: Tensor, valid: Tensor, named: dict[str, Tensor]) -> ScoliGaitOutput:
        """The same with the map already standardised, which attributions start from."""
        return self.answer(present, valid, named)[0]

    def tokens(self, valid: Tensor, named: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens (B, N, D) of every modality and which count (B, N), the map already standardised."""
        config = self.config
        tokens, keeps = [], []
        for number, modality in enumerate(config.modalities):
            if modality == "map":
                place = self._place("map", config.frames // config.map_patch)
                x, keep = self.map.encode(named["map"], valid, place)
            elif modality == "video":
                place = self._place("video", config.video_frames // config.tubelet)
                x, keep = self.video(named["video"], valid, place)
            else:
                x = self.text(named["text"])
                keep = torch.ones_like(x[..., 0], dtype=torch.bool)
            tokens.append(x + self.kinds[number])
            keeps.append(keep)
        return tokens, keeps

    def answer(
        self, present: Tensor, valid: Tensor, named: dict[str, Tensor]
    ) -> tuple[ScoliGaitOutput, list[Tensor]]:
        """The output, and with `experts` also the logits (B, K) that are trained: the fused ones, then those
        of each modality.
        """
        tokens, keeps = self.tokens(valid, named)
        kept = [k & present[:, number, None] for number, k in enumerate(keeps)]
        logits = self.head(self.fusion(tokens, kept))
        every: list[Tensor] = []
        if self.config.experts:
            own = [e(masked_mean(t, k)) for e, t, k in zip(self.experts, tokens, keeps, strict=True)]
            every = [logits, *own]
            # Absent modalities have no vote; the fused answer always has one.
            votes, answers = [torch.ones_like(present[:, :1]), present], every
            if self.config.linear_columns:
                at = self.config.modalities.index("map")
                votes.append(present[:, [at]])
                answers = [*every, self.linear(named["map"], valid)]
            gates = self.gates.expand(len(present), -1).masked_fill(~torch.cat(votes, 1), -torch.inf)
            logits = (gates.softmax(1)[..., None] * F.log_softmax(torch.stack(answers, 1), -1)).sum(1)
        return ScoliGaitOutput(logits, F.softmax(logits, -1) @ self.classes.to(logits.dtype)), every

    def fit_columns(self, values: Tensor, valid: Tensor) -> None:
        """Standardise the map with training samples (N, T, 238)."""
        if "map" in self.config.modalities:
            self.map.fit_columns(values, valid)
