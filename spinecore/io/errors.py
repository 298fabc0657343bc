"""Errors a user can act on: every message names the file, the value and the remedy."""

from __future__ import annotations


class FilmError(ValueError):
    """A film that cannot be measured; ``reason`` goes into films.csv and the run goes on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UsageError(ValueError):
    """Wrong or impossible request: the command ends with exit code 2."""
