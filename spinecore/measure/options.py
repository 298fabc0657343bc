"""What changes the numbers of a film, and therefore what a resumed run compares."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from spinecore.io.errors import UsageError
from spinecore.spine.curves import DEFINITIONS

ALL_DEFINITIONS = "all"
SCHEMA = "spinecore.film/1"


def package_version(name: str = "spinecore-torch") -> str:
    """Version of an installed distribution, "not installed" without one."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class MeasureOptions:
    """Options of one film's measurement.

    definition: one of :data:`DEFINITIONS`, or "all" (curves.csv then lists the curves of every definition).
    overlay: whether an overlay is drawn.
    """

    definition: str = "aasce_midbody"
    overlay: bool = True

    def __post_init__(self) -> None:
        known = (*DEFINITIONS, ALL_DEFINITIONS)
        if self.definition not in known:
            raise UsageError(f"--definition {self.definition!r} is unknown; choose one of {', '.join(known)}")

    @property
    def primary(self) -> str:
        """The definition of the overlay, the severity and the report."""
        return "aasce_midbody" if self.definition == ALL_DEFINITIONS else self.definition


def resume_key(options: MeasureOptions, content_sha256: str, reader_fingerprint: str) -> str:
    """Equal only for the same content, options, reader (weights, landmarks or mask) and version."""
    parts = [SCHEMA, package_version(), asdict(options), content_sha256, reader_fingerprint]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
