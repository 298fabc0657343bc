"""Screen many recordings one after another: a bad one is recorded and passed over, what is done stays
done.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spinecore.io.atomic import file_sha256, write_json
from spinecore.measure.lock import only_run
from spinecore.measure.options import package_version
from spinecore.measure.provenance import DISTRIBUTIONS, backend_usage
from spinecore.registry import PluginError

SCHEMA = "spinecore.gait/1"
RUN_SCHEMA = "spinecore.screening-run/1"
FOLDERS = ("json", "maps")


@dataclass
class ScreeningSummary:
    """What a run did, for the exit code, run.json and the last line on the terminal."""

    out: Path
    planned: int = 0
    screened: int = 0
    reused: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    subjects: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 all screened, 3 some failed, 130 interrupted."""
        if self.interrupted:
            return 130
        return 3 if self.failures else 0


def screen_recordings(
    reader: Any,
    recordings: Sequence[Any],
    out: Path,
    *,
    model: str,
    weights_sha256: str,
    command: dict[str, Any],
    resume: bool = False,
    on_recording: Callable[[str, str | None], None] | None = None,
) -> ScreeningSummary:
    """Screen `recordings` with a gait model's `reader` into `out`: json/, maps/, tables, index.html,
    run.json.

    `on_recording` is called with each name and why it failed, or None. Ctrl-C keeps what is done. Raises
    :class:`UsageError` while another run writes into `out`.
    """
    with only_run(out):
        begin = time.perf_counter()
        started = datetime.now(UTC)
        summary = ScreeningSummary(out, planned=len(recordings))
        found: list[dict[str, Any]] = []
        stems = _stems(recordings)
        try:
            for recording, stem in zip(recordings, stems, strict=True):
                records, reason, reused = _one(reader, recording, stem, out, weights_sha256, command, resume)
                found += [{**r, "recording": recording.name} for r in records]
                summary.reused += reused
                if reason is None:
                    summary.screened += 1
                else:
                    summary.failures.append((recording.name, reason))
                if on_recording is not None:
                    on_recording(recording.name, reason)
        except KeyboardInterrupt:
            summary.interrupted = True
        if not summary.interrupted:
            _remove_stale(out, set(stems))
        footer = (
            f"spinecore {package_version()}, model {model}, weights {weights_sha256[:12]}, {started:%Y-%m-%d}"
        )
        summary.subjects = len(reader.finish(out, found, summary.failures, footer))
        summary.seconds = time.perf_counter() - begin
        write_json(out / "run.json", _record(summary, model, weights_sha256, command, started))
        return summary


def _one(
    reader: Any,
    recording: Any,
    stem: str,
    out: Path,
    weights_sha256: str,
    command: dict[str, Any],
    resume: bool,
) -> tuple[list[dict[str, Any]], str | None, bool]:
    """Records, the reason of a failure, and whether they are of an earlier run."""
    place = out / "json" / f"{stem}.json"
    try:
        key = _key(recording, weights_sha256, command)
        if resume and (earlier := _reusable(out, place, key)) is not None:
            return earlier, None, True
        records = reader.screen(recording, out / "maps", stem)
        reason = None
    except PluginError as error:
        key, records, reason = "", [], str(error)
    except OSError as error:
        if error.filename is None or Path(error.filename).is_relative_to(out):
            raise  # a full or closed output folder fails for every recording
        key, records, reason = "", [], f"{error.filename}: cannot be opened: {error.strerror}"
    except Exception as error:  # one recording must not end the run; its reason names the error
        if os.environ.get("SPINECORE_DEBUG"):
            raise
        key, records, reason = "", [], f"unexpected {type(error).__name__}: {error}"
    write_json(
        place,
        {"schema": SCHEMA, "recording": recording.name, "reason": reason, "key": key, "clips": records},
    )
    return records, reason, False


def _key(recording: Any, weights_sha256: str, command: dict[str, Any]) -> str:
    """What changes the numbers: content, name of the subject, weights, options, version."""
    files = sorted(recording.path.iterdir()) if recording.path.is_dir() else [recording.path]
    parts = [file_sha256(f) for f in files if f.is_file()]
    options = {k: command.get(k) for k in ("rate", "pose_model")}
    whole = json.dumps([parts, recording.subject, weights_sha256, options, package_version()])
    return hashlib.sha256(whole.encode()).hexdigest()


def _reusable(out: Path, place: Path, key: str) -> list[dict[str, Any]] | None:
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        clips: list[dict[str, Any]] = record["clips"]
        whole = record["schema"] == SCHEMA and record["key"] == key and bool(clips)
        return clips if whole and all((out / "maps" / c["picture"]).is_file() for c in clips) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stems(recordings: Sequence[Any]) -> list[str]:
    """One flat file name a recording, telling apart what folders and extensions told apart."""
    count = Counter(recording.name for recording in recordings)
    found: list[str] = []
    for recording in recordings:
        name = recording.name
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        whole = name if count[name] == 1 else str(recording.path.resolve())
        found.append(f"{plain[:120]}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}")
    return found


def _remove_stale(out: Path, stems: set[str]) -> None:
    """Take out what an earlier run left for recordings that are not in this one."""
    for file in sorted((out / "json").glob("*.json")):
        try:
            ours = json.loads(file.read_text(encoding="utf-8")).get("schema") == SCHEMA
        except (ValueError, AttributeError):
            ours = False
        if ours and file.stem not in stems:
            for picture in (out / "maps").glob(f"{file.stem}-*.png"):
                picture.unlink()
            file.unlink()


def _record(
    summary: ScreeningSummary, model: str, sha256: str, command: dict[str, Any], started: datetime
) -> dict[str, Any]:
    return {
        "schema": RUN_SCHEMA,
        "spinecore": package_version(),
        "versions": {name: package_version(name) for name in (*DISTRIBUTIONS, "av", "ezc3d", "onnxruntime")},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "started": started.astimezone().isoformat(timespec="seconds"),
        "interrupted": summary.interrupted,
        "command": command,
        "model": model,
        "weights_sha256": sha256,
        "recordings": {
            "planned": summary.planned,
            "screened": summary.screened,
            "failed": len(summary.failures),
            "reused": summary.reused,
        },
        "subjects": summary.subjects,
        "seconds": round(summary.seconds, 3),
        "backends": backend_usage(),
    }
