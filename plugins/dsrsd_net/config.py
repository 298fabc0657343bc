"""Configuration of DSRSD-Net. Every size and weight here is our choice; the paper's abstract states none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("vector", "sequence", "text")


@dataclass(frozen=True)
class ModalityConfig:
    """One modality as the model sees it.

    Attributes:
        name: unique name.
        kind: "vector" (B, F), "sequence" (B, T, F) with one row a step, "text" (B, L) or, a text at every
            step, (B, T, L) of token numbers (0 = no token).
        numeric: number of numeric columns, the first ones; NaN means missing.
        categories: sizes of the categorical columns that follow; code 0 is "unknown".
        vocabulary: number of tokens of a text, 0 included.
        per_step: the text changes with the step.

    """

    name: str
    kind: str = "vector"
    numeric: int = 0
    categories: tuple[int, ...] = ()
    vocabulary: int = 0
    per_step: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(self.categories))
        if self.kind not in KINDS:
            raise ValueError(f"modality {self.name!r}: kind is {self.kind!r}; use one of {', '.join(KINDS)}")
        if self.kind == "text" and self.vocabulary < 2:
            raise ValueError(
                f"modality {self.name!r}: vocabulary is {self.vocabulary}; a text needs at least 2"
            )
        if self.kind != "text" and self.numeric + len(self.categories) < 1:
            raise ValueError(f"modality {self.name!r}: has no columns; give numeric or categories")
        if any(size < 2 for size in self.categories):
            raise ValueError(
                f"modality {self.name!r}: categories are {self.categories}; each needs at least 2"
            )

    @property
    def stepwise(self) -> bool:
        """Whether it changes from step to step."""
        return self.kind == "sequence" or self.per_step


@dataclass(frozen=True)
class DSRSDConfig:
    """Sizes, losses and ablation switches of DSRSD-Net.

    Attributes:
        modalities: what goes in, in the order of the inputs.
        width: d, of the encodings.
        factors: k, of the shared and of the private factors.
        layers: hidden layers of vector and text encoders; 0 is a linear map.
        sequence: "gru" or "attention" (causal, with a learned decay per head).
        projection: "soft", or "hard": row-orthonormal, so that the residual projects to zero.
        outcomes: classes of the final outcome, 0 for none.
        next_step: whether a yes/no answer is predicted at every step; of modalities that do not change with
            the step it is the same at each.
        dropout: inside encoders and heads.
        input_dropout: of the input columns.
        modality_dropout: share of present modalities hidden in training, never all of a sample.
        temperature: of the contrastive alignment.
        align, regression, decorrelation, variance, orthogonality: weights of the losses; regression counts
            inside align, as do the parts of the sum below: task + align (nce + regression reg) +
            decorrelation cov + variance var + orthogonality orth.
        private_spread: weight of covariance and variance of the private factors, so that they keep all that
            is private and not only what the task asks for.
        stream_task: weight of the task loss of each modality's own linear head, whose answers are added to
            the fused one with the gates; 0 leaves those heads out.
        next_step_weight: of the next-step part of the task loss.

    """

    modalities: tuple[ModalityConfig, ...] = (ModalityConfig("a", numeric=8), ModalityConfig("b", numeric=8))
    width: int = 128
    factors: int = 64
    layers: int = 1
    sequence: str = "gru"
    projection: str = "soft"
    outcomes: int = 2
    next_step: bool = False
    dropout: float = 0.1
    input_dropout: float = 0.0
    modality_dropout: float = 0.15
    temperature: float = 0.1
    align: float = 0.2
    regression: float = 0.5
    decorrelation: float = 0.05
    variance: float = 0.05
    orthogonality: float = 0.1
    private_spread: float = 0.0
    stream_task: float = 0.3
    next_step_weight: float = 1.0

    def __post_init__(self) -> None:
        # Mappings and lists are what a JSON configuration holds.
        object.__setattr__(
            self,
            "modalities",
            tuple(ModalityConfig(**m) if isinstance(m, Mapping) else m for m in self.modalities),
        )
        names = [m.name for m in self.modalities]
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"DSRSDConfig: modalities are {names}; give at least one, each with its own name"
            )
        if self.projection not in ("soft", "hard"):
            raise ValueError(f"DSRSDConfig: projection is {self.projection!r}; use 'soft' or 'hard'")
        if self.sequence not in ("gru", "attention"):
            raise ValueError(f"DSRSDConfig: sequence is {self.sequence!r}; use 'gru' or 'attention'")
        if not 1 <= self.factors <= self.width:
            raise ValueError(f"DSRSDConfig: factors is {self.factors}; use 1 to width = {self.width}")
        if self.outcomes == 1 or (self.outcomes < 1 and not self.next_step):
            raise ValueError(f"DSRSDConfig: outcomes is {self.outcomes}; use 2 or more, or 0 with next_step")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `DSRSDConfig(**config.as_dict())` is the same configuration."""
        fields = dict(vars(self))
        fields["modalities"] = [{**vars(m), "categories": list(m.categories)} for m in self.modalities]
        return fields
