"""Where samples come from: a described table, or a folder of a known set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import TableError
from ..samples import Samples
from .assistments import load_assistments
from .description import description, read_description
from .digits import load_digits
from .gait import load_gait
from .oulad import load_oulad
from .table import load_table

SETS: dict[str, Callable[[Path], Samples]] = {
    "mfeat": load_digits,
    "gait_grf": load_gait,
    "oulad": load_oulad,
    "assist2009_pid": load_assistments,
    "assist2015": load_assistments,
    "assist2017_pid": load_assistments,
}


def load_samples(
    *,
    table: Path | None = None,
    modalities: Path | None = None,
    data: Path | None = None,
    dataset: str | None = None,
) -> tuple[Samples, dict[str, Any]]:
    """Samples with what must be known to read another table alike (JSON-ready).

    Either a table with its description, or a folder with the name of its set (default: the folder's own
    name).
    """
    if (table is None) == (data is None):
        raise TableError("give either --table with --modalities, or --data")
    if table is not None:
        if modalities is None:
            raise TableError(
                f"{table}: needs --modalities, a YAML or JSON file that says what its columns mean"
            )
        samples, what = load_table(table, read_description(modalities))
        return samples, {"table": what.as_dict()}
    assert data is not None
    name = dataset or data.resolve().name
    if name not in SETS:
        raise TableError(f"{data}: set {name!r} is unknown; give --dataset, one of {', '.join(SETS)}")
    return SETS[name](data), {"dataset": name}


def load_like(record: dict[str, Any], *, table: Path | None, data: Path | None) -> Samples:
    """Samples for a model trained on `record`, as `load_samples` gave it."""
    if "table" in record:
        if table is None:
            raise TableError("this model was trained on a table; give --table")
        return load_table(table, description(record["table"]))[0]
    if data is None:
        raise TableError(f"this model was trained on {record.get('dataset')}; give --data")
    return load_samples(data=data, dataset=record["dataset"])[0]
