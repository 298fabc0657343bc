"""What the columns of a table mean: a description in YAML or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TableError


@dataclass(frozen=True)
class Column:
    """One modality of a table: its kind and columns."""

    kind: str
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    per_step: bool = False


@dataclass(frozen=True)
class Description:
    """What the columns of a table mean, and (once read) the names behind the codes.

    Attributes:
        modalities: by name.
        id: column whose equal values are the steps of one sample; None: a sample a row.
        person: column of the person (or site), all of whose rows go to one side of a split; default `id`.
        time: column that orders the steps of a sample.
        until: rows whose time is later are not read: what was not known yet.
        outcome: column of the final outcome.
        next_step: column of 0 or 1; step t predicts its value at step t + 1.
        names: categories of each categorical column, from training.
        classes: of the outcome, from training.

    """

    modalities: dict[str, Column]
    id: str | None = None
    person: str | None = None
    time: str | None = None
    until: float | None = None
    outcome: str | None = None
    next_step: str | None = None
    names: dict[str, list[str]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "modalities": {n: vars(c) for n, c in self.modalities.items()}}


KEYS = ("id", "person", "time", "until", "outcome", "next_step", "modalities", "names", "classes")


def read_description(path: Path) -> Description:
    """A description from a .yaml, .yml or .json file.

    Raises:
        TableError: naming the file and the key that is wrong, or a modality that holds its own answer.

    """
    if not path.is_file():
        raise TableError(
            f"{path}: no such file; describe the table's modalities there (docs/dsrsd_net.md shows how)"
        )
    text = path.read_text(encoding="utf-8")
    try:
        raw = json.loads(text) if path.suffix == ".json" else _yaml(text)
    except ValueError as e:
        raise TableError(f"{path}: not readable ({e})") from e
    try:
        return description(raw)
    except TableError as e:
        raise TableError(f"{path}: {e}") from e


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as e:
        raise TableError(
            "YAML needs PyYAML; install spinecore-torch[multimodal] or write the file as .json"
        ) from e
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from e


def description(raw: Any) -> Description:
    """A description from the mapping that YAML or JSON holds."""
    if not isinstance(raw, dict) or not isinstance(raw.get("modalities"), dict) or not raw["modalities"]:
        raise TableError("needs a key `modalities` with at least one modality")
    unknown = [k for k in raw if k not in KEYS]
    if unknown:
        raise TableError(f"key {unknown[0]!r} is unknown; use {', '.join(KEYS)}")
    found: dict[str, Column] = {}
    for name, fields in raw["modalities"].items():
        try:
            listed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            found[str(name)] = Column(**listed)
        except (TypeError, AttributeError) as e:
            raise TableError(f"modality {name!r}: {e}; use kind, numeric, categorical, text, per_step") from e
    made = Description(found, **{k: v for k, v in raw.items() if k != "modalities"})
    if made.outcome is None and made.next_step is None:
        raise TableError("names neither `outcome` nor `next_step`; one of them is to be predicted")
    if made.next_step is not None and (made.id is None or made.time is None):
        raise TableError("`next_step` needs `id` and `time`, which make the steps")
    if made.until is not None and made.time is None:
        raise TableError("`until` needs `time`")
    for name, column in found.items():
        leak = {made.outcome, made.person, made.id} & {*column.numeric, *column.categorical, *column.text}
        if leak:
            raise TableError(
                f"modality {name!r}: column {leak.pop()!r} is the outcome or names the person; leave it out"
            )
        if column.kind == "sequence" and made.time is None:
            raise TableError(f"modality {name!r}: a sequence needs `id` and `time`")
    if made.next_step is not None and not any(c.kind == "sequence" or c.per_step for c in found.values()):
        raise TableError(
            "`next_step` needs a modality that changes with the step; make one `kind: sequence`, or a text "
            "`per_step: true`"
        )
    return made
