"""Ratios, means and targets from rows written by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from spinecore.bench.markdown import markdown, milliseconds, not_counted
from spinecore.bench.summary import geometric_mean, line_of, section_of, sections


def variant(
    name: str, kind: str, seconds: float | None, family: str = "", reason: str = ""
) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "kind": kind, "family": family or name}
    if seconds is not None:
        entry["seconds"] = seconds
    if reason:
        entry["reason"] = reason
    return entry


def row(shape: tuple[int, ...], ours: float | None, *peers: float, least: float = 0.5e-3) -> dict[str, Any]:
    variants = [variant("spinecore cpu nhwc", "ours", ours, "spinecore cpu", "" if ours else "no kernel")]
    variants += [variant(f"peer {i}", "peer", seconds, "eager") for i, seconds in enumerate(peers)]
    variants.append(variant("bfloat16", "context", 1e-6))
    return {
        "shape": list(shape),
        "rounds": 7,
        "load": [0, 0],
        "variants": variants,
        "limit": {"seconds": least},
    }


def case(*rows: dict[str, Any], every: float | None = 2.0, mean: float | None = 2.5) -> dict[str, Any]:
    words = {"axes": "N", "limit": "fma", "against": "eager"}
    return {**words, "target": {"every": every, "mean": mean}, "rows": list(rows)}


def test_the_best_of_ours_is_compared_with_the_best_peer_and_context_counts_for_neither() -> None:
    line = line_of(row((1,), 1e-3, 4e-3, 3e-3), every=2.0)
    assert line.ratio == pytest.approx(3.0)
    assert line.of_limit == pytest.approx(0.5)
    assert line.peer is not None
    assert line.peer.name == "peer 1"
    assert line.met is True
    assert line.families["eager"].seconds == 3e-3
    assert line_of(row((1,), 2e-3, 3e-3), every=2.0).met is False


def test_without_a_native_kernel_there_is_no_ratio_and_a_reason() -> None:
    line = line_of(row((1,), None, 4e-3), every=2.0)
    assert (line.ratio, line.of_limit, line.met) == (None, None, None)
    assert line.reasons == {"spinecore cpu nhwc": "no kernel"}


def test_geometric_mean() -> None:
    assert geometric_mean([]) is None
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


def test_a_mean_is_met_only_when_every_shape_was_measured() -> None:
    both = section_of("op", "case", case(row((1,), 1e-3, 2e-3), row((2,), 1e-3, 4e-3)))
    assert both.geometric_mean == pytest.approx(math.sqrt(8.0))
    assert both.mean_met is True
    half = section_of("op", "case", case(row((1,), 1e-3, 4e-3), row((2,), None, 4e-3)))
    assert half.geometric_mean == pytest.approx(4.0)
    assert half.mean_met is False
    assert section_of("op", "case", case(row((1,), 1e-3, 4e-3), mean=None)).mean_met is None


def test_reasons_that_are_equal_are_said_once() -> None:
    first = row((1,), None, 4e-3)
    first["variants"].append(variant("openvino", "peer", None, reason="wrong values"))
    first["variants"].append(variant("spinecore cpu nchw", "ours", None, reason="no kernel"))
    section = section_of("op", "case", case(first, row((2,), None, 4e-3)))
    assert not_counted(section) == {
        "spinecore cpu nhwc, spinecore cpu nchw": "no kernel",
        "openvino": "wrong values",
    }


def test_the_table_names_peers_ratio_limit_and_target() -> None:
    document = {
        "date": "2026-01-02",
        "machine": {"cpu": "abacus", "torch": "2"},
        "operators": {"gate": {"forward": case(row((1, 64), 1e-3, 3e-3), row((2, 64), 2e-3, 3e-3))}},
    }
    text = markdown(document)
    assert "- cpu: abacus" in text
    assert "## gate: forward" in text
    assert "| operator | case | best peer | least | eager | targets |" in text
    assert "| gate | forward | 2.12 | 1.50 | 2.12 | target 2 on every shape: met on 1 of 2" in text
    assert "| 1,64 | 1 | 3 | 0.001 | peer 0 | 3.00 | 50 % | yes |" in text
    assert "| 2,64 | 2 | 3 | 0.001 | peer 0 | 1.50 | 25 % | **no** |" in text
    assert "Geometric mean 2.12; target 2 on every shape: met on 1 of 2" in text
    assert len(list(sections(document))) == 1


@pytest.mark.parametrize(("seconds", "text"), [(0.1234, "123"), (0.01234, "12.3"), (1.5e-4, "0.15")])
def test_milliseconds_have_three_digits(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text
