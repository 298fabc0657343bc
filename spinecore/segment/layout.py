"""Where the outputs of a run lie under OUT, and which of them belong to an earlier run."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from spinecore.segment.result import SCHEMA, ScanResult, from_json

FOLDERS = {"mask": "masks", "levels": "levels", "overlay": "overlays", "json": "json"}


def output_path(kind: str, stem: str, suffix: str) -> str:
    """Path relative to OUT, POSIX, for example ``masks/<stem>.nii.gz``."""
    return f"{FOLDERS[kind]}/{stem}{suffix}"


def record_path(stem: str) -> str:
    """``json/<stem>.json``: its presence says that the scan is done."""
    return output_path("json", stem, ".json")


def load_result(out: Path, stem: str) -> ScanResult | None:
    """The record of a scan in OUT, or None when there is none that can be read as one of ours."""
    try:
        return from_json(json.loads((out / record_path(stem)).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # torn, edited, or of another schema: the scan is segmented anew


def reusable(out: Path, stem: str, key: str) -> ScanResult | None:
    """The earlier result when it came about under the same key and all its outputs are still there."""
    result = load_result(out, stem)
    if result is None or not result.measured or result.resume_key != key:
        return None
    return result if all((out / path).is_file() for path in result.outputs.values()) else None


def remove_outputs(out: Path, stem: str) -> None:
    """Remove what an earlier run has written for a scan; absent outputs are fine."""
    earlier = load_result(out, stem)
    for path in (*(earlier.outputs.values() if earlier is not None else ()), record_path(stem)):
        if _inside(out, path):
            (out / path).unlink(missing_ok=True)


def _inside(out: Path, path: str) -> bool:
    """A record that somebody edited must not remove files elsewhere."""
    return out.resolve() in (out / path).resolve().parents


def remove_stale(out: Path, stems: Collection[str]) -> int:
    """Remove what an earlier run left in OUT for scans not in this one; only our own records count."""
    folder, removed = out / FOLDERS["json"], 0
    for file in sorted(folder.rglob("*.json")) if folder.is_dir() else []:
        stem = file.relative_to(folder).as_posix().removesuffix(".json")
        if stem not in stems and _is_ours(file):
            remove_outputs(out, stem)
            removed += 1
    return removed


def _is_ours(file: Path) -> bool:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("schema") == SCHEMA
