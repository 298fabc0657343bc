"""What the tests of the commands share."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str]]
"""The command in this process: arguments -> exit code and everything printed."""


def command(*arguments: object) -> list[str]:
    """The command for a process of its own."""
    return [sys.executable, "-c", "from spinecore.cli import main; main()", *map(str, arguments)]


def rows(out: Path, name: str = "films.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
