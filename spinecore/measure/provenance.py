"""run.json: enough to say how the numbers came about, and nothing about patients."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from spinecore.measure.options import MeasureOptions, package_version
from spinecore.measure.readers import ReaderInfo
from spinecore.measure.run import RunSummary

RUN_SCHEMA = "spinecore.run/1"
DISTRIBUTIONS = ("torch", "numpy", "scipy", "pillow", "scikit-image", "pydicom", "safetensors")


def run_record(
    summary: RunSummary,
    options: MeasureOptions,
    info: ReaderInfo,
    started: datetime,
    load_seconds: float,
    command: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of run.json. ``command`` holds the options as given."""
    seconds = summary.film_seconds
    return {
        "schema": RUN_SCHEMA,
        **environment(),
        "started": started.astimezone().isoformat(timespec="seconds"),
        "interrupted": summary.interrupted,
        "command": dict(command),
        "options": asdict(options),
        "reader": {
            key: value for key, value in asdict(info).items() if key not in ("weights_sha256", "device")
        },
        "weights_sha256": info.weights_sha256,
        "device": info.device,
        "films": {
            "planned": summary.planned,
            "measured": summary.measured,
            "failed": summary.failed,
            "reused": summary.reused,
            "duplicates": summary.duplicates,
        },
        "timings": {
            "total_seconds": round(summary.seconds + load_seconds, 3),
            "load_seconds": round(load_seconds, 3),
            "film_seconds_median": round(statistics.median(seconds), 4) if seconds else None,
            "film_seconds_max": round(max(seconds), 4) if seconds else None,
        },
        "backends": backend_usage(),
    }


def environment() -> dict[str, Any]:
    """Versions and machine."""
    return {
        "spinecore": package_version(),
        "versions": {name: package_version(name) for name in DISTRIBUTIONS},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }


def backend_usage() -> dict[str, dict[str, int]]:
    """How often each backend ran each operator in this process; empty when no operator ran."""
    backends = sys.modules.get("spinecore.backends")  # never imported (with torch) just to say "none"
    return {} if backends is None else dict(backends.usage())
