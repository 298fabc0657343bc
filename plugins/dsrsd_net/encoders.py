"""One encoder a modality: (B, F), (B, T, F) or tokens -> (B, T or 1, d), causal in time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import DSRSDConfig, ModalityConfig


class ColumnEmbedding(nn.Module):
    """Numeric columns standardised with the training set's figures, missing ones marked; codes embedded.

    Shapes: (..., numeric + categorical) -> (..., out).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, modality: ModalityConfig, out: int) -> None:
        super().__init__()
        self.numeric = modality.numeric
        self.register_buffer("mean", torch.zeros(modality.numeric))
        self.register_buffer("scale", torch.ones(modality.numeric))
        self.linear = nn.Linear(2 * modality.numeric, out) if modality.numeric else None
        self.tables = nn.ModuleList(nn.Embedding(size, out) for size in modality.categories)
        for table in self.tables:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.1)

    def fit(self, values: Tensor) -> None:
        """Take mean and standard deviation of the numeric columns of (rows, columns); NaN is left out."""
        x = values[:, : self.numeric].double()
        known = torch.isfinite(x)
        count = known.sum(0).clamp_min(1)
        zero = torch.zeros_like(x)
        mean = torch.where(known, x, zero).sum(0) / count
        variance = torch.where(known, (x - mean).square(), zero).sum(0) / count
        self.mean.copy_(mean)
        # A column that never changes says nothing: it stays at zero instead of growing without bound.
        self.scale.copy_(torch.where(variance > 1e-12, variance.sqrt(), torch.full_like(variance, torch.inf)))

    def forward(self, x: Tensor) -> Tensor:
        """The embedded columns."""
        parts: list[Tensor] = []
        if self.linear is not None:
            numeric = x[..., : self.numeric]
            missing = torch.isnan(numeric)
            values = torch.nan_to_num((numeric - self.mean) / self.scale, nan=0.0).clamp(-8.0, 8.0)
            parts.append(self.linear(torch.cat((values, missing.to(values.dtype)), -1)))
        for column, table in enumerate(self.tables):
            parts.append(table(x[..., self.numeric + column].long()))
        return sum(parts[1:], parts[0])


class TextEmbedding(nn.Module):
    """Mean of token embeddings; token 0 is no token. Shapes: (..., L) -> (..., out)."""

    def __init__(self, vocabulary: int, out: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, out)
        nn.init.normal_(self.table.weight, std=0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """The embedded texts."""
        tokens = tokens.long()
        kept = (tokens > 0).to(self.table.weight.dtype)[..., None]
        total: Tensor = (self.table(tokens) * kept).sum(-2)
        return total / kept.sum(-2).clamp_min(1.0).sqrt()


class DecayAttention(nn.Module):
    """Causal attention whose heads forget at learned rates (a softplus slope per head on the distance).

    Our choice, after the monotonic attention of AKT (Ghosh et al. 2020). Shapes: (B, T, d) -> (B, T, d).
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads if width % heads == 0 else 1
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.slope = nn.Parameter(torch.linspace(-6.0, 0.0, self.heads))

    def forward(self, x: Tensor) -> Tensor:
        """Attend to this step and those before it."""
        rows, steps, width = x.shape
        q, k, v = (
            part.reshape(rows, steps, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        at = torch.arange(steps, device=x.device)
        distance = at[:, None] - at
        bias = -F.softplus(self.slope)[:, None, None] * distance.to(x.dtype)
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads) + bias
        weights = scores.masked_fill(distance < 0, -torch.inf).softmax(-1)
        mixed: Tensor = self.out((weights @ v).transpose(1, 2).reshape(rows, steps, width))
        return mixed


class Recurrence(nn.Module):
    """The history of a sequence, by a GRU or by attention, added to the step's own embedding."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True) if kind == "gru" else None
        self.attention = DecayAttention(width) if kind == "attention" else None
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d), causal."""
        x = self.norm(x)
        past = self.gru(x)[0] if self.gru is not None else self.attention(x)  # type: ignore[misc]
        out: Tensor = x + past
        return out


class Encoder(nn.Module):
    """h = LN(E(x)) of one modality (spec: dual-stream encoders; their inside is our choice).

    Shapes: vector (B, F) -> (B, 1, d); sequence (B, T, F) -> (B, T, d); text (B, L) or (B, T, L) alike.
    """

    def __init__(self, modality: ModalityConfig, config: DSRSDConfig) -> None:
        super().__init__()
        self.stepwise = modality.stepwise
        self.embed = (
            TextEmbedding(modality.vocabulary, config.width)
            if modality.kind == "text"
            else ColumnEmbedding(modality, config.width)
        )
        self.input_dropout = nn.Dropout(config.input_dropout)
        layers: list[nn.Module] = []
        for _ in range(config.layers):
            layers += [nn.GELU(), nn.Dropout(config.dropout), nn.Linear(config.width, config.width)]
        self.hidden = nn.Sequential(*layers)
        self.recurrence = Recurrence(config.sequence, config.width) if modality.kind == "sequence" else None
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """The encodings."""
        if isinstance(self.embed, ColumnEmbedding) and self.embed.linear is not None:
            columns = self.embed.numeric
            x = torch.cat((self.input_dropout(x[..., :columns]), x[..., columns:]), -1) if columns else x
        h = self.hidden(self.embed(x))
        if not self.stepwise:
            h = h[:, None]
        if self.recurrence is not None:
            h = self.recurrence(h)
        out: Tensor = self.norm(h)
        return out
