"""Files that are either whole or absent: written beside their place and moved there."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any


def write_atomic(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call ``write`` on a temporary file in the same folder, then rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        Path(temporary).chmod(0o644)  # mkstemp makes private files; results are meant to be shared
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say where
        raise


def write_text(path: Path, text: str) -> None:
    """UTF-8 text, atomically."""
    write_atomic(path, lambda stream: _write_all(stream, text.encode("utf-8")))


def write_json(path: Path, value: Any) -> None:
    """Indented UTF-8 JSON, atomically; NaN is refused because it is not JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Comma-separated UTF-8 with a header line, atomically."""

    def write(stream: IO[bytes]) -> None:
        import io

        with io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True) as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)

    write_atomic(path, write)


def _write_all(stream: IO[bytes], data: bytes) -> None:
    stream.write(data)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
