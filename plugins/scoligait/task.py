"""The training task of ScoliGait for `spinecore train`: split by subject, reference, text, validation,
weights.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from spinecore.weights import write_card

from .config import ScoliGaitConfig
from .errors import GaitError
from .evaluation import blind_predictors, screening_figures, screening_table
from .fitting import batch_loss, by_walk, class_weights, fit_stems, probabilities
from .network import ScoliGait
from .pose import mirrored
from .recordings import SIMULATED_SUBJECTS, Labelled, as_columns, labelled, simulated
from .samples import Clips, check_split, clip_arrays, split_subjects, stack_clips
from .text.encoders import Encode, text_encoder
from .text.findings import Reference, findings, fit_reference, measures, sentence

HELD_SHARE = 0.2
OUTCOMES = ("negative", "positive")


def save_weights(model: ScoliGait, path: Path, card: dict[str, Any]) -> None:
    """Write weights as safetensors, atomically, and the card beside them."""
    state = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"model": "scoligait", "config": json.dumps(model.config.as_dict())})
    partial.replace(path)
    write_card(path, card)


class GaitTask:
    """Trains on labelled clips and their mirror images; a fifth of the subjects validates.

    The reference of the findings, and with it every text, comes from the negative training subjects alone.
    """

    def __init__(
        self,
        source: dict[str, Path | str | None],
        *,
        config: dict[str, Any] | None = None,
        batch: int = 32,
        seed: int = 1,
    ) -> None:
        fields = dict(config or {})
        folder = fields.pop("sentence_encoder", None)
        subjects = int(fields.pop("simulated_subjects", SIMULATED_SUBJECTS))
        try:
            self.config = ScoliGaitConfig(**{"map_patch": 4, **fields})
        except (TypeError, ValueError) as e:
            raise GaitError(f"configuration: {e}") from e
        self.sentences = None if folder is None else Path(folder)
        if self.config.outcomes != 2:
            raise GaitError(f"outcomes is {self.config.outcomes}; training has 2, negative and positive")
        data, self.record = _load(source, subjects, seed)
        self.seed = seed
        self.clips, self.reference, self.train, self.held, self.columns = _prepare(
            data, self.config, seed, text_encoder(self.config, self.sentences)
        )
        check_split(self.clips.subject, self.train, self.held)
        self.batch = min(batch, len(self.train))
        self.steps_per_epoch = max(1, len(self.train) // self.batch)
        self.weights = class_weights(self.clips.outcome[torch.from_numpy(self.train)], 2)
        self.table: dict[str, Any] = {}

    def build(self) -> ScoliGait:
        """A model whose map columns are standardised with the training clips."""
        torch.manual_seed(self.seed)
        model = ScoliGait(self.config)
        seen = self.clips.take(self.train)
        fit_stems(model, seen, self.weights)
        return model

    def loss(self, model: ScoliGait, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of batch `step`; order and hidden modalities follow from (seed, step)."""
        epoch, at = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.train)
        batch = self.clips.take(order[at * self.batch : (at + 1) * self.batch])
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        torch.manual_seed(self.seed * 1_000_003 + step)
        return batch_loss(model, batch, self.weights, draw)

    def validate(self, model: ScoliGait) -> dict[str, float]:
        """Figures of the held-out subjects' walks, each the mean over its clips, mirror images left out."""
        score, first = by_walk(
            probabilities(model, self.clips, self.held), self.clips.walk.numpy()[self.held]
        )
        at = self.held[first]
        truth, subject = self.clips.outcome.numpy()[at], self.clips.subject.numpy()[at]
        blind = blind_predictors(self.clips.outcome.numpy(), self.train, at, self.columns)
        self.table = {
            "validation": _rounded(screening_table(truth, score[:, 1], subject, repeats=300)),
            "baselines": {
                name: {k: _round(v) for k, v in screening_figures(truth, p).items()}
                for name, p in blind.items()
            },
            "validation_walks": len(at),
            "validation_subjects": len(np.unique(subject)),
        }
        return {k.replace(" ", "_").lower(): v for k, v in screening_figures(truth, score[:, 1]).items()}

    def save(self, model: ScoliGait, path: Path, figures: dict[str, float]) -> None:
        """Write weights with their card: source, reference of the findings, figures with intervals."""
        card = {
            **self.describe(),
            "outcomes": list(OUTCOMES),
            "reference": self.reference.as_dict(),
            "figures": {k: _round(v) for k, v in figures.items()},
            **self.table,
        }
        save_weights(model, path, card)

    def describe(self) -> dict[str, Any]:
        """Options and counts, JSON-ready."""
        subject = self.clips.subject.numpy()
        return {
            "model": "scoligait",
            "source": self.record,
            "config": self.config.as_dict(),
            "sentence_encoder": None if self.sentences is None else str(self.sentences),
            "seed": self.seed,
            "batch": self.batch,
            "training_clips": len(self.train),
            "training_subjects": len(np.unique(subject[self.train])),
            "held_subjects": len(np.unique(subject[self.held])),
        }


def _load(source: dict[str, Path | str | None], subjects: int, seed: int) -> tuple[Labelled, dict[str, Any]]:
    folder, table = source.get("data"), source.get("table")
    if source.get("modalities") is not None:
        raise GaitError("--modalities is for tables of dsrsd_net; name modalities in --config")
    if folder is None:
        if table is not None or source.get("dataset") not in (None, "simulated"):
            raise GaitError("give --data, the folder of the recordings; without it people are simulated")
        return simulated(subjects, seed), {"dataset": "simulated", "subjects": subjects}
    data = labelled(Path(folder), Path(table) if table else None)
    return data, {"dataset": "recordings", "clips": len(data.clips)}


def _prepare(
    data: Labelled, config: ScoliGaitConfig, seed: int, encode: Encode
) -> tuple[Clips, Reference, Any, Any, dict[str, Any]]:
    """Clips and their mirror images, the reference, training and held-out places."""
    count = len(data.clips)
    subject = torch.tensor(data.subject)
    train, held = split_subjects(subject, HELD_SHARE, seed)
    label = np.array(data.label)
    values = np.stack([measures(c) for c in data.clips])
    healthy = train[label[train] == 0]
    if not len(healthy) or len(healthy) == len(train):
        raise GaitError(f"{len(healthy)} of {len(train)} training clips are negative; both labels are needed")
    reference = fit_reference(values[healthy], subject.numpy()[healthy])
    both = [*data.clips, *(mirrored(c) for c in data.clips)]
    words = [sentence(findings(measures(c), reference)) for c in both]
    tokens = encode(words)[:, None]
    clips = stack_clips(
        [clip_arrays(c, config) for c in both],
        tokens,
        outcome=[*data.label, *data.label],
        severity=[*data.severity, *data.severity],
        subject=[*data.subject, *data.subject],
        walk=[*data.walk, *data.walk],
    )
    columns = {k: np.concatenate([v, v]) for k, v in as_columns(data.extra).items()}
    return replace(clips, extra=columns), reference, np.concatenate([train, train + count]), held, columns


def _rounded(table: dict[str, Any]) -> dict[str, list[float | None]]:
    return {k: [_round(v) for v in estimate] for k, estimate in table.items()}


def _round(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def gait_task(source: dict[str, Path | str | None], **options: Any) -> GaitTask:
    """The task of `spinecore train scoligait`."""
    return GaitTask(source, **options)
