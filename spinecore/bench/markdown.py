"""The table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spinecore.bench.summary import Line, Section, sections

_NOTES = (
    "One thread, process CPU time, variants in turns, median; milliseconds. *ratio*: the best peer's time "
    "over ours. *of limit*: the least time this machine needs over ours, measured in the same loop: for "
    "traffic from its read and copy bandwidth at the tensor's size, else from its multiply-add peak and the "
    "operations of the plain algorithm (Winograd needs fewer, so it may exceed 100 %)."
)
_MARKS = {True: "yes", False: "**no**", None: "-"}


def markdown(document: Mapping[str, Any]) -> str:
    """The whole document: machine, one table a case, and why a variant is not among them."""
    facts = document["machine"]
    lines = [f"# Benchmarks of {document['date']}", ""]
    lines.append(_NOTES)
    lines += ["", *(f"- {key}: {value}" for key, value in facts.items()), "", *summary_lines(document), ""]
    for section in sections(document):
        lines += [*section_lines(section), ""]
    return "\n".join(lines)


def summary_lines(document: Mapping[str, Any]) -> list[str]:
    """One line a case: the mean ratio to the best peer and to every kind of peer."""
    found = list(sections(document))
    kinds = list(dict.fromkeys(name for section in found for name in section.means))
    heads = ["operator", "case", "best peer", "least", *kinds, "targets"]
    lines = ["## Summary", "", "Geometric means of the ratios over the shapes.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for section in found:
        ratios = [line.ratio for line in section.lines if line.ratio is not None]
        values = [section.geometric_mean, min(ratios, default=None), *map(section.means.get, kinds)]
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        lines.append("| " + " | ".join([section.operator, section.case, *cells, targets(section)]) + " |")
    return lines


def section_lines(section: Section) -> list[str]:
    """Heading, table and reasons of one case."""
    peers = peer_families(section.lines)
    heads = [section.axes, "ours", *peers, "best peer", "ratio", "of limit", "target met"]
    lines = [f"## {section.operator}: {section.case}", "", f"Against {section.against}.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cells(line, peers)) + " |" for line in section.lines]
    mean = "-" if section.geometric_mean is None else f"{section.geometric_mean:.2f}"
    lines += ["", f"Geometric mean {mean}; {targets(section)}."]
    reasons = not_counted(section)
    if reasons:
        lines += ["", "Not counted:", "", *(f"- {name}: {why}" for name, why in reasons.items())]
    return lines


def not_counted(section: Section) -> dict[str, str]:
    """The variants of a case that did not run or returned wrong values, with the reason; equal ones once."""
    found: dict[str, str] = {}
    for line in section.lines:
        for name, why in line.reasons.items():
            known = next((other for other, reason in found.items() if reason == why), None)
            if known is None:
                found[name if name not in found else f"{name} at {','.join(map(str, line.shape))}"] = why
            elif name not in known.split(", "):
                found = {f"{key}, {name}" if key == known else key: value for key, value in found.items()}
    return found


def peer_families(lines: Sequence[Line]) -> list[str]:
    """The headings of what is timed beside our own kernels."""
    return list(dict.fromkeys(name for line in lines for name in line.families if name != "spinecore cpu"))


def cells(line: Line, peers: Sequence[str]) -> list[str]:
    """One row as text."""
    return [
        ",".join(map(str, line.shape)),
        "-" if line.ours is None else milliseconds(line.ours.seconds),
        *(milliseconds(line.families[name].seconds) if name in line.families else "-" for name in peers),
        "-" if line.peer is None else line.peer.name,
        "-" if line.ratio is None else f"{line.ratio:.2f}",
        "-" if line.of_limit is None else f"{100 * line.of_limit:.0f} %",
        _MARKS[line.met],
    ]


def targets(section: Section) -> str:
    """The targets of a case, and whether they are met, in words."""
    if section.every is None and section.mean is None:
        return "no target"
    met = [line.met for line in section.lines]
    words = []
    if section.every is not None:
        reached = f"met on {met.count(True)} of {len(met)}"
        words.append(f"target {section.every:g} on every shape: {reached}")
    if section.mean is not None:
        words.append(f"target {section.mean:g} in the mean: {'met' if section.mean_met else 'not met'}")
    return ", ".join(words)


def milliseconds(seconds: float) -> str:
    """Three significant digits."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
