"""The few numbers that describe a run, gathered while its films pass by once."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from spinecore.measure.result import FilmResult

SEVERITIES = ("none", "mild", "moderate", "severe")


@dataclass
class RunCounts:
    """Counts and the median major angle of the films of a run, in the primary definition.

    Doubtful films and bending films count as measured; their angles are left out.
    """

    measured: int = 0
    doubtful: int = 0
    bending: int = 0
    failed: int = 0
    flagged: int = 0
    angles: list[float] = field(default_factory=list)
    severities: Counter[str] = field(default_factory=Counter)
    definition: str = "aasce_midbody"

    @property
    def total(self) -> int:
        """Films seen."""
        return self.measured + self.failed

    @property
    def median(self) -> float | None:
        """Median major Cobb angle in degrees; None without a measured film."""
        return statistics.median(self.angles) if self.angles else None

    def shares(self) -> list[tuple[str, int, float]]:
        """(severity, films, percent of the films with a curve), in order of severity."""
        total = sum(self.severities.values())
        return [
            (name, self.severities[name], 100.0 * self.severities[name] / total if total else 0.0)
            for name in SEVERITIES
        ]


def count_run(results: Iterable[FilmResult], bending: Container[str] = ()) -> RunCounts:
    """Walk the results once; ``bending``: names of the films on which the patient bends."""
    counts = RunCounts()
    for result in results:
        counts.measured += result.measured
        counts.failed += not result.measured
        counts.flagged += bool(result.measured and result.flags)
        counts.doubtful += result.measured and result.doubtful
        counts.bending += result.measured and not result.doubtful and result.film in bending
        if result.primary_curves and not result.doubtful and result.film not in bending:
            counts.definition = result.primary
            counts.angles.append(result.primary_curves[0].cobb_deg)
            counts.severities[result.primary_curves[0].severity] += 1
    return counts
