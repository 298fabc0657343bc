"""Where the outputs of a run lie under OUT, and which of them belong to an earlier run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from spinecore.io.atomic import file_sha256
from spinecore.io.find import FilmSource
from spinecore.measure.options import SCHEMA
from spinecore.measure.result import FilmResult, from_json

FOLDERS = {"mask": ("masks", ".png"), "overlay": ("overlays", ".png"), "json": ("json", ".json")}


def output_path(kind: str, stem: str) -> str:
    """Path relative to OUT, POSIX: ``masks/<stem>.png``, ``overlays/<stem>.png``, ``json/<stem>.json``."""
    folder, suffix = FOLDERS[kind]
    return f"{folder}/{stem}{suffix}"


def load_result(out: Path, stem: str) -> FilmResult | None:
    """The record of a film in OUT, or None when there is none that can be read as one of ours."""
    file = out / output_path("json", stem)
    try:
        return from_json(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # torn, edited, or of another schema: the film is measured anew


def reusable(out: Path, stem: str, key: str) -> FilmResult | None:
    """The earlier result when it was measured under the same key and all its outputs are still there."""
    result = load_result(out, stem)
    if result is None or not result.measured or result.resume_key != key:
        return None
    return result if all((out / path).is_file() for path in result.outputs.values()) else None


def remove_outputs(out: Path, stem: str, kinds: Collection[str] = tuple(FOLDERS)) -> None:
    """Remove the outputs of one film; absent ones are fine."""
    for kind in kinds:
        (out / output_path(kind, stem)).unlink(missing_ok=True)


def remove_stale(out: Path, stems: Collection[str]) -> int:
    """Remove what an earlier run left in OUT for films not in this one; only our own records count."""
    kept = set(stems)
    stale = [stem for stem, _ in _records(out) if stem not in kept]
    for stem in stale:
        remove_outputs(out, stem)
    return len(stale)


def films_of_others(out: Path, sources: Sequence[FilmSource], *, resume: bool) -> list[str]:
    """Films whose results in OUT a run over ``sources`` would replace by those of another film of the same
    name, or remove, which ``resume`` does not.
    """
    paths = {source.stem: source.path for source in sources}
    return [
        str(record.get("film", stem))
        for stem, record in _records(out)
        if (not resume and stem not in paths)
        or (stem in paths and _is_other_content(paths[stem], str(record.get("film_sha256", ""))))
    ]


def _is_other_content(path: Path, digest: str) -> bool:
    try:
        return digest != "" and file_sha256(path) != digest
    except OSError:  # it will fail, and its reason says so
        return False


def _records(out: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stem and record of every film that has results in OUT."""
    folder = out / FOLDERS["json"][0]
    for file in sorted(folder.rglob("*.json")) if folder.is_dir() else []:
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and record.get("schema") == SCHEMA:
            yield file.relative_to(folder).as_posix().removesuffix(".json"), record
