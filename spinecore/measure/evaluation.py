"""A measured folder against an AASCE-format reference: every figure beside the constant predictor's."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinecore.io.aasce import AasceSet, series_stem, split_by_series, twin_in_training
from spinecore.io.errors import UsageError
from spinecore.measure.compare import FilmScore, score_film
from spinecore.measure.layout import FOLDERS, load_result
from spinecore.measure.result import FilmResult
from spinecore.metrics import (
    bland_altman,
    cmae,
    icc_a1,
    mae,
    mean_overlap,
    mean_surface,
    measured_pairs,
    share_within,
    smape_aasce,
)
from spinecore.spine.vertebrae import Vertebrae

PARTS = ("validation", "train", "all")
EVALUATION_SCHEMA = "spinecore.evaluation/1"
TOLERANCE_DEG = 5.0
RESAMPLES = 2000


@dataclass(frozen=True)
class Evaluation:
    """Scores of the films of one part. ``constant``: three angles in degrees, or None and why."""

    part: str
    films: tuple[FilmScore, ...]
    left_out: tuple[str, ...]  # crossed beyond repair, or held out but known to training under another name
    constant: tuple[float, float, float] | None
    constant_from: str

    def chosen(self, *, clean_only: bool) -> list[FilmScore]:
        """Films with a clean reference only, or the repaired ones too."""
        return [film for film in self.films if film.clean or not clean_only]


def evaluate_run(
    out: Path, reference: AasceSet, part: str, card_constant: Sequence[float] | None = None
) -> Evaluation:
    """Score the films of ``part`` found in the measured folder ``out``.

    A film of the part that failed or is absent from ``out`` counts as missed. ``card_constant`` is used for
    part "all", where the reference has no other films to take a constant from.
    """
    if part not in PARTS:
        raise UsageError(f"--part {part!r} is unknown; choose one of {', '.join(PARTS)}")
    results = read_results(out)
    held_out = split_by_series(reference.names)
    inside = {"validation": held_out, "train": ~held_out, "all": np.ones(len(reference), dtype=bool)}[part]
    unfit = reference.unrepairable.copy()
    if part == "validation":
        unfit |= twin_in_training(reference.names, held_out)
    if not inside.any():
        raise UsageError(f"{reference.folder}: no films in part {part!r}")
    scores = [
        score_film(
            reference.names[row],
            Vertebrae.from_corners(reference.corners[row]),
            reference.angles[row],
            (int(reference.sizes[row, 0]), int(reference.sizes[row, 1])),
            clean=not bool(reference.flawed[row]),
            result=results.get(reference.names[row]),
            out=out,
        )
        for row in np.flatnonzero(inside & ~unfit)
    ]
    if all(score.reason == "not in this run" for score in scores):
        raise UsageError(f"{out}: holds none of the {len(scores)} films of {reference.folder} ({part})")
    constant, source = _constant(reference, inside, card_constant)
    left_out = tuple(reference.names[row] for row in np.flatnonzero(inside & unfit))
    return Evaluation(part, tuple(scores), left_out, constant, source)


def read_results(out: Path) -> dict[str, FilmResult]:
    """The results of a measured folder by file name (without folders)."""
    table = out / "films.csv"
    if not table.is_file():
        raise UsageError(f"{table}: missing; give the OUT folder of `spinecore measure`")
    with table.open(newline="", encoding="utf-8") as stream:
        films = {row["film"] for row in csv.DictReader(stream)}
    folder = out / FOLDERS["json"][0]
    results: dict[str, FilmResult] = {}
    for file in sorted(folder.rglob("*.json")):
        result = load_result(out, file.relative_to(folder).as_posix().removesuffix(".json"))
        if result is None or result.film not in films:
            continue
        name = PurePosixPath(result.film).name
        if name in results:
            raise UsageError(
                f"{out}: holds several films named {name}; evaluate one folder of films at a time"
            )
        results[name] = result
    return results


def _constant(
    reference: AasceSet, inside: NDArray[np.bool_], card: Sequence[float] | None
) -> tuple[tuple[float, float, float] | None, str]:
    others = ~inside & ~reference.flawed
    if others.any():
        first, second, third = (float(value) for value in reference.angles[others].mean(axis=0))
        return (first, second, third), f"mean of the {int(others.sum())} clean films outside this part"
    if card is not None and len(card) == 3:
        return (float(card[0]), float(card[1]), float(card[2])), "the model card's training mean"
    return None, "no films outside this part and no constant_predictor in the model card"


def figures(films: Sequence[FilmScore], constant: Sequence[float] | None = None) -> dict[str, Any]:
    """All figures over ``films``; with ``constant``, the angle figures of predicting it for every film."""
    wanted = np.array([film.reference_angles for film in films]).reshape(-1, 3)
    found = np.array([film.angles for film in films]).reshape(-1, 3)
    if constant is not None:
        found = np.tile(np.asarray(constant, dtype=np.float64), (len(films), 1))
    major, truth = found[:, 0], wanted[:, 0]
    seen, seen_truth, missed = measured_pairs(major, truth)
    difference = np.abs(seen - seen_truth)
    result: dict[str, Any] = {
        "films": len(films),
        "missed": missed,
        "major_mae_deg": mae(seen, seen_truth),
        "major_mae_interval": _series_interval(films, np.abs(major - truth)),
        "major_median_deg": float(np.median(difference)) if difference.size else math.nan,
        "major_cmae_deg": cmae(seen, seen_truth),
        "within_5_deg_percent": share_within(major, truth, TOLERANCE_DEG),
        "smape_percent": smape_aasce(np.maximum(found, 0.0), wanted),
    }
    if len(seen) >= 2:
        agreement = bland_altman(seen, seen_truth)
        result["bland_altman"] = dataclasses.asdict(agreement)
        icc = icc_a1(np.stack([seen, seen_truth], axis=1))
        result["icc_a1"] = dataclasses.asdict(icc)
    if constant is None:
        result |= _image_figures(films)
    return result


def _image_figures(films: Sequence[FilmScore]) -> dict[str, Any]:
    dices = [film.dice for film in films]
    distances = mean_surface([film.hd95_px for film in films], [film.hd95_missed for film in films])
    corners = [film.corner_error_percent for film in films if math.isfinite(film.corner_error_percent)]
    tilts = [film.tilt_mae_deg for film in films if math.isfinite(film.tilt_mae_deg)]
    finite = [value for value in dices if math.isfinite(value)]
    return {
        "dice": mean_overlap(dices).mean,
        "dice_worst_decile": float(np.percentile(finite, 10)) if finite else math.nan,
        "iou": mean_overlap(film.iou for film in films).mean,
        "hd95_px": distances.mean,
        "hd95_missed": distances.missed,
        "tilt_mae_deg": float(np.mean(tilts)) if tilts else math.nan,
        "corner_error_percent_mean": float(np.mean(corners)) if corners else math.nan,
        "corner_error_percent_median": float(np.median(corners)) if corners else math.nan,
    }


def _series_interval(films: Sequence[FilmScore], errors: NDArray[np.float64]) -> list[float]:
    """95 % bootstrap interval of the mean over whole series: films of one patient are not independent."""
    stems = np.array([series_stem(film.name) for film in films])
    groups = [errors[(stems == stem) & np.isfinite(errors)] for stem in sorted(set(stems.tolist()))]
    groups = [group for group in groups if group.size]
    if len(groups) < 2:
        return [math.nan, math.nan]
    sums = np.array([group.sum() for group in groups])
    counts = np.array([group.size for group in groups])
    draws = np.random.default_rng(0).integers(0, len(groups), (RESAMPLES, len(groups)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return [float(low), float(high)]


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """evaluation.json; NaN becomes null."""
    clean = evaluation.chosen(clean_only=True)
    everything = evaluation.chosen(clean_only=False)
    constant = evaluation.constant
    record = {
        "schema": EVALUATION_SCHEMA,
        "part": evaluation.part,
        "definition": "aasce_midbody",
        "left_out": list(evaluation.left_out),
        "constant_predictor": {"angles": constant, "from": evaluation.constant_from},
        "clean": {"run": figures(clean), "constant": None if constant is None else figures(clean, constant)},
        "with_repaired": {
            "run": figures(everything),
            "constant": None if constant is None else figures(everything, constant),
        },
        "films": [dataclasses.asdict(film) for film in evaluation.films],
    }
    cleaned: dict[str, Any] = _without_nan(record)
    return cleaned


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return value
