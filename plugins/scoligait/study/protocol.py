"""What a study is: methods, and how one of them is judged with a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Figures = dict[str, float]


@dataclass(frozen=True)
class Study:
    """One data set as it is judged.

    Attributes:
        name: of the study.
        methods: by name, in the order they run.
        judge: (method, seed, folds or None, robust) -> figures by the name of what was judged.
        notes: counts and choices, for the table.

    """

    name: str
    methods: tuple[str, ...]
    judge: Callable[[str, int, int | None, bool], dict[str, Figures]]
    notes: tuple[str, ...] = ()
