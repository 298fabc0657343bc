"""Configuration of ScoliGait. Where the paper states a size it is named; every other value is our choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MODALITIES = ("map", "video", "text")
FUSIONS = ("latent", "dictionary", "attention", "concat")


@dataclass(frozen=True)
class ScoliGaitConfig:
    """Sizes and ablation switches.

    Attributes:
        modalities: which of map, video and text the model has, in that order.
        outcomes: classes.
        fusion: "latent" (B: learned latents query all tokens), "dictionary" (A: tokens query a learned
            dictionary), "attention" (one transformer layer over all tokens, then their mean), "concat"
            (means of the modalities side by side).
        aligned: video and map take their positions from one table of clip times (the paper's choice).
        width: d (512 in the authors' later code).
        depth: transformer layers a modality (the paper: 8 alone, 4 together).
        heads: of every attention.
        mlp: width of the hidden layers, over d.
        latents: r of the form B.
        entries: r of the form A (512 in NV-Embed).
        frames: T of the map; the paper's clips have 96.
        columns: of the map, 238.
        map_patch: frames a token.
        map_cells: standardise every cell (frame, column) instead of columns; for curves of normalised time.
        video_frames, video_height, video_width, video_channels: pictures of a clip.
        tubelet: pictures a token; patch: its side in pixels (16 in the authors' later code).
        pictures: "skeleton" (drawn from joints, 3 channels) or "recorded" (frames or silhouettes of the
            recording, 1 channel).
        text: "hashed" (token numbers of the built-in encoder) or "embedding" (vectors of a sentence encoder).
        vocabulary: hashed tokens; text_length: tokens a text; text_width: of the vectors (384 for MiniLM).
        dropout: in the transformers; head_dropout: before the last layer.
        map_noise: spread of Gaussian noise on the standardised map, in training.
        modality_dropout: share of present modalities hidden in training, never all of a sample.
        balanced: "dictionary" and "attention" end with the mean of the means of the modalities instead of
            that of all tokens: one token of text weighs as much as all of the map, as in the other forms.
        experts: weight of the loss of every modality's own answer, a linear head on the mean of its tokens.
            Above 0 the model's answer is the mean, weighted by learned gates, of the logarithms of these
            answers and the fused one.
        linear_columns: columns of the map whose every cell answers too, through a logistic regression fitted
            before training and then fixed; for curves of normalised time. Needs `experts`. Empty: none.
        linear_share: of the regression's cross-entropy against its squared weights (C of scikit-learn).
        class_severity: severity that each class stands for, 0..1; empty: evenly spread.

    """

    modalities: tuple[str, ...] = MODALITIES
    outcomes: int = 2
    fusion: str = "latent"
    aligned: bool = True
    width: int = 64
    depth: int = 2
    heads: int = 4
    mlp: int = 2
    latents: int = 16
    entries: int = 512
    frames: int = 96
    columns: int = 238
    map_patch: int = 1
    map_cells: bool = False
    video_frames: int = 16
    video_height: int = 48
    video_width: int = 32
    video_channels: int = 3
    tubelet: int = 2
    patch: int = 16
    pictures: str = "skeleton"
    text: str = "hashed"
    vocabulary: int = 4096
    text_length: int = 96
    text_width: int = 384
    dropout: float = 0.1
    head_dropout: float = 0.3
    map_noise: float = 0.1
    modality_dropout: float = 0.15
    experts: float = 0.0
    balanced: bool = False
    linear_columns: tuple[int, ...] = ()
    linear_share: float = 0.003
    class_severity: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        # Lists are what a JSON configuration holds.
        object.__setattr__(self, "modalities", tuple(self.modalities))
        object.__setattr__(self, "class_severity", tuple(float(s) for s in self.class_severity))
        object.__setattr__(self, "linear_columns", tuple(int(c) for c in self.linear_columns))
        if not self.modalities or list(self.modalities) != [m for m in MODALITIES if m in self.modalities]:
            raise ValueError(
                f"ScoliGaitConfig: modalities are {self.modalities}; give a part of {MODALITIES} in order"
            )
        if self.fusion not in FUSIONS:
            raise ValueError(f"ScoliGaitConfig: fusion is {self.fusion!r}; use one of {', '.join(FUSIONS)}")
        if self.text not in ("hashed", "embedding"):
            raise ValueError(f"ScoliGaitConfig: text is {self.text!r}; use 'hashed' or 'embedding'")
        if self.pictures not in ("skeleton", "recorded"):
            raise ValueError(f"ScoliGaitConfig: pictures is {self.pictures!r}; use 'skeleton' or 'recorded'")
        if self.outcomes < 2:
            raise ValueError(f"ScoliGaitConfig: outcomes is {self.outcomes}; use 2 or more")
        if self.linear_columns and not (
            self.experts
            and "map" in self.modalities
            and all(0 <= c < self.columns for c in self.linear_columns)
        ):
            raise ValueError(
                f"ScoliGaitConfig: linear_columns is {self.linear_columns}; it needs the map, experts above "
                f"0, and columns below {self.columns}"
            )
        if self.width % self.heads:
            raise ValueError(f"ScoliGaitConfig: heads is {self.heads}; it must divide width = {self.width}")
        video = (
            (self.video_frames, self.tubelet, "tubelet must divide video_frames"),
            (self.video_height, self.patch, "patch must divide video_height"),
            (self.video_width, self.patch, "patch must divide video_width"),
            (self.frames, self.video_frames, "video_frames must divide frames"),
        )
        patches = ((self.frames, self.map_patch, "map_patch must divide frames"),)
        for whole, part, words in (*patches, *(video if "video" in self.modalities else ())):
            if part < 1 or whole % part:
                raise ValueError(f"ScoliGaitConfig: {words}; {whole} by {part} does not go")
        if self.class_severity and len(self.class_severity) != self.outcomes:
            raise ValueError(
                f"ScoliGaitConfig: class_severity has {len(self.class_severity)} values for "
                f"{self.outcomes} classes"
            )

    @property
    def severities(self) -> tuple[float, ...]:
        """Severity of each class."""
        return self.class_severity or tuple(c / (self.outcomes - 1) for c in range(self.outcomes))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `ScoliGaitConfig(**config.as_dict())` is the same configuration."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
