"""run.json of a segmentation: enough to say how the masks came about, and nothing about patients."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from spinecore.measure.provenance import RUN_SCHEMA, backend_usage, environment
from spinecore.segment.reference import agreement
from spinecore.segment.run import ScanSummary


def run_record(
    summary: ScanSummary,
    reader: Mapping[str, Any],
    started: datetime,
    load_seconds: float,
    command: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of run.json. ``command`` holds the options as given, ``reader`` what segments."""
    seconds = summary.scan_seconds
    return {
        "schema": RUN_SCHEMA,
        **environment(),
        "started": started.astimezone().isoformat(timespec="seconds"),
        "interrupted": summary.interrupted,
        "command": dict(command),
        "reader": dict(reader),
        "scans": {
            "planned": summary.planned,
            "segmented": summary.segmented,
            "failed": summary.failed,
            "reused": summary.reused,
            "slices": summary.slices,
        },
        "agreement": agreement(result.agreement for result in summary.results()),
        "timings": {
            "total_seconds": round(summary.seconds + load_seconds, 3),
            "load_seconds": round(load_seconds, 3),
            "scan_seconds_median": round(statistics.median(seconds), 4) if seconds else None,
            "scan_seconds_max": round(max(seconds), 4) if seconds else None,
        },
        "backends": backend_usage(),
    }
