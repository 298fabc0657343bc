"""The screening page: subjects by score, each with the walker, findings, drivers and the map."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from .picture import walker_svg
from .text.findings import MEASURES, Reference

SHOWN_Z = 4.0


def write_page(
    path: Path,
    subjects: list[dict[str, Any]],
    failures: list[tuple[str, str]],
    card: dict[str, Any],
    reference: Reference,
    threshold: float,
    footer: str,
) -> None:
    """One page beside the folder of the maps, atomically."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    cards = [
        {
            **s,
            "svg": Markup(walker_svg(s["pose"], s["measures"], s["z"])),  # noqa: S704 - numbers of ours only
            "rows": _rows(s, reference),
            "links": [f"maps/{quote(p)}" for p in s["pictures"]],
            "largest": max([abs(part) for _, part in s["drivers"]] or [1e-9]),
        }
        for s in subjects
    ]
    text = environment.get_template("screen.html.j2").render(
        cards=cards,
        failures=failures,
        positives=sum(s["positive"] for s in subjects),
        doubtful=sum(bool(s["flags"]) for s in subjects),
        threshold=threshold,
        reference=reference.subjects,
        simulated=card.get("source", {}).get("dataset") == "simulated",
        validation=card.get("validation", {}),
        footer=footer,
        shown_z=SHOWN_Z,
    )
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _rows(subject: dict[str, Any], reference: Reference) -> list[dict[str, Any]]:
    """Measures, those farthest from the reference first, unknown ones last."""
    found = []
    for m, mean, spread in zip(MEASURES, reference.mean, reference.spread, strict=True):
        z = subject["z"][m.name]
        place = 0.0 if z is None else max(-SHOWN_Z, min(SHOWN_Z, z))
        found.append(
            {
                "words": m.words,
                "unit": {"deg": "°", "torso": " torso", "%": " %"}[m.unit],
                "digits": 2 if m.unit == "torso" else 1,
                "value": subject["measures"][m.name],
                "mean": float(mean),
                "spread": float(spread),
                "z": z,
                "left": 50 + 50 * min(place, 0) / SHOWN_Z,
                "width": 50 * abs(place) / SHOWN_Z,
                "far": z is not None and abs(z) > 2,
                "side": None if not m.sided or z is None else ("left" if z > 0 else "right"),
            }
        )
    return sorted(found, key=lambda r: -abs(r["z"]) if r["z"] is not None else 1.0)
