"""What `spinecore screen` asks of the model: find recordings, screen one, put subjects together on a page."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .errors import GaitError
from .network import ScoliGait
from .page import write_page
from .picture import draw_map
from .pose import RATE, clips
from .readers import Recording, find_recordings, read_recording
from .readers.read import named
from .readers.video import OnnxPose, PoseEstimator
from .recordings import write_simulated
from .samples import clip_arrays
from .screening import screen_walk, summary
from .text.encoders import text_encoder
from .text.findings import MEASURES, Reference, findings

THRESHOLD = 0.5


class GaitReader:
    """A trained model with the reference of its training subjects."""

    def __init__(
        self,
        model: ScoliGait,
        card: dict[str, Any],
        *,
        pose_model: Path | None = None,
        rate: float | None = None,
        threshold: float | None = None,
    ) -> None:
        if "reference" not in card:
            raise GaitError(
                "these weights have no card with the reference of their training subjects; "
                "train them with `spinecore train scoligait`"
            )
        self.model, self.card, self.rate = model.eval(), card, rate
        self.reference = Reference.from_dict(card["reference"])
        self.threshold = threshold if threshold is not None else float(card.get("threshold", THRESHOLD))
        folder = card.get("sentence_encoder")
        self.encode = text_encoder(model.config, None if folder is None else Path(folder))
        self.estimator: PoseEstimator | None = None if pose_model is None else OnnxPose(pose_model)

    def find(self, paths: Sequence[Path], exclude: Path | None = None) -> list[Recording]:
        """Recordings under `paths`."""
        return find_recordings(paths, exclude)

    def simulate(self, folder: Path, count: int) -> Path:
        """Write `count` simulated walkers, unlike those of training, as CSV beside truth.txt; their
        folder.
        """
        return write_simulated(folder, count)

    def screen(self, recording: Recording, pictures: Path, stem: str) -> list[dict[str, Any]]:
        """Records of the clips of a recording; plots of the maps go to `pictures`/<stem>-<walk>.png. A walk
        that cannot be screened is a flag of the others.

        Raises:
            GaitError: none can; with the file, what is wrong and what to do.

        """
        found: list[dict[str, Any]] = []
        errors: list[GaitError] = []
        walks = read_recording(recording.path, recording.subject, rate=self.rate, estimator=self.estimator)
        for number, walk in enumerate(walks, start=1):
            try:
                records = screen_walk(walk, self.model, self.reference, self.encode)
            except GaitError as error:
                errors.append(error)
                continue
            picture = f"{stem}-{number}.png"
            self._plot(pictures / picture, clips(walk, self.model.config.frames)[0])
            found += [{**r, "picture": picture} for r in records]
        if errors and not found:
            raise named(recording.path, errors[0]) from errors[0]
        for record in found[:1]:
            record["flags"] += [f"another walk of the file is not screened: {error}" for error in errors]
        return found

    def _plot(self, path: Path, clip: Any) -> None:
        values = torch.from_numpy(clip_arrays(clip, self.model.config)["map"])
        standard = self.model.map.standard(values)[: len(clip.joints)]
        draw_map(path, standard.numpy(), RATE)

    def finish(
        self, out: Path, records: list[dict[str, Any]], failures: list[tuple[str, str]], footer: str
    ) -> list[dict[str, Any]]:
        """Write screening.csv (a row a subject), clips.csv and index.html; returns the subjects, the highest
        score first.
        """
        groups: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            groups.setdefault(record["subject"], []).append(record)
        subjects = []
        for own in groups.values():
            found = summary(own, self.threshold)
            values = [float("nan") if v is None else v for v in found["measures"].values()]
            phrases = findings(torch.tensor(values, dtype=torch.float64).numpy(), self.reference)
            found["findings"] = [f.phrase for f in phrases]
            found["pictures"] = list(dict.fromkeys(r["picture"] for r in own))
            subjects.append(found)
        subjects.sort(key=lambda s: -s["score"])
        _write_tables(out, subjects, records)
        write_page(out / "index.html", subjects, failures, self.card, self.reference, self.threshold, footer)
        return subjects


def build_reader(model: ScoliGait, card: dict[str, Any], **options: Any) -> GaitReader:
    """The reader of a loaded model and the card beside its weights."""
    return GaitReader(model, card, **options)


def _write_tables(out: Path, subjects: list[dict[str, Any]], records: list[dict[str, Any]]) -> None:
    names = [m.name for m in MEASURES]
    head = ["subject", "clips", "score", "low", "high", "positive", "findings", "quality_flags"]
    rows: list[list[Any]] = []
    for s in subjects:
        numbers = [s["subject"], s["clips"], *(f"{s[k]:.4f}" for k in ("score", "low", "high"))]
        words = [int(s["positive"]), "; ".join(s["findings"]), "; ".join(s["flags"])]
        rows.append(
            [*numbers, *words, *(_cell(s["measures"][n]) for n in names), *(_cell(s["z"][n]) for n in names)]
        )
    _write(out / "screening.csv", [*head, *names, *(f"z_{n}" for n in names)], rows)
    _write(
        out / "clips.csv",
        ["recording", "subject", "walk", "clip", "score", *names],
        [
            [r["recording"], r["subject"], r["walk"], r["clip"], f"{r['score']:.4f}"]
            + [_cell(r["measures"][n]) for n in names]
            for r in records
        ],
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    partial.replace(path)
