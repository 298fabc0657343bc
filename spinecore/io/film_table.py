"""Tables about films that somebody else has written: which row means which film."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

from spinecore.io.errors import FilmError
from spinecore.io.find import film_stem

Entry = TypeVar("Entry")


class FilmTable(Generic[Entry]):
    """What one file says of films, found by relative path.

    An entry with another extension, or without folders, serves too where exactly one film of ``run`` (the
    names of all films to be measured) would use it: two patients' films often have the same name.
    """

    def __init__(self, path: Path, what: str, films: Mapping[str, Entry], run: Sequence[str] = ()) -> None:
        self.path = path
        self._what = what  # in words: what the file lists for a film
        self._films = films
        self._by_name = _index(films, lambda film: PurePosixPath(film).name)
        self._by_stem = _index(films, film_stem)
        self._users: dict[str, list[str]] = {}
        for film in run:
            if len(entries := self._entries(film)) == 1:
                self._users.setdefault(entries[0], []).append(film)

    def __len__(self) -> int:
        return len(self._films)

    def unused(self) -> list[str]:
        """Entries that mean no film of the run."""
        return [entry for entry in self._films if entry not in self._users]

    def lists(self, film: str) -> bool:
        """Whether some entry may mean ``film``."""
        return bool(self._entries(film))

    def find(self, film: str) -> Entry:
        """What is listed for ``film``.

        Raises :class:`FilmError` when nothing is, or when another entry or film could be meant.
        """
        if film in self._films:
            return self._films[film]
        entries = self._entries(film)
        if len(entries) > 1:
            raise FilmError(
                f"{self.path.name} lists {' and '.join(entries)}, any of which could mean {film}; "
                "list it there by its path"
            )
        users = self._users.get(entries[0], []) if entries else []
        if film not in users:
            raise FilmError(self._absent(film))
        if others := [user for user in users if user != film]:
            more = f" or {len(others) - 1} more" if len(others) > 1 else ""
            raise FilmError(
                f"{self.path.name} lists {entries[0]}, which could mean {film} or {others[0]}{more}; "
                "list each film there by its path"
            )
        return self._films[entries[0]]

    def _entries(self, film: str) -> list[str]:
        """Entries that may mean ``film``: its path or that without extension, else its name alone."""
        for key in (film, PurePosixPath(film).name):  # a key without folders finds entries without folders
            if key in self._films:
                return [key]
            if same := self._by_stem.get(film_stem(key)):
                return same
        return []

    def _absent(self, film: str) -> str:
        reason = f"{self.path.name} lists no {self._what} for this film"
        if elsewhere := self._by_name.get(PurePosixPath(film).name):
            reason += (
                f"; {elsewhere[0]} there is another path than {film}: measure the folder where listed paths "
                "begin, or change them"
            )
        return reason


def _index(films: Mapping[str, Entry], key: Callable[[str], str]) -> dict[str, list[str]]:
    index: dict[str, list[str]] = {}
    for film in films:
        index.setdefault(key(film), []).append(film)
    return index
