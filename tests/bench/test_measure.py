"""Measuring a tiny case; every case of the package computes what its operator computes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from spinecore.bench import figure, measure, results
from spinecore.bench.case import Call, Case, Problem, Target, Unavailable, Variant, Work, relative_error
from spinecore.bench.cases import OPERATORS, cases_of
from spinecore.bench.machine import describe, limit_variants, limits_of, load
from spinecore.bench.markdown import markdown
from spinecore.bench.timing import one_thread, time_in_turns

CASES = [case for operator in OPERATORS for case in cases_of(operator)]
TINY = {"N,C,H,W": (1, 16, 9, 8), "N,C,D,H,W": (1, 8, 16, 7, 9), "B,N,D,R": (2, 24, 32, 3), "B,D": (12, 20)}


def constant(value: float) -> Callable[[], Call]:
    return lambda: lambda: torch.full((3,), value)


def unavailable() -> Call:
    raise Unavailable("not today")


def broken() -> Call:
    raise RuntimeError("fell over\nand more")


def tiny_case() -> Case:
    variants = {
        "right": Variant(constant(2.0), "ours", "spinecore cpu"),
        "peer": Variant(constant(2.0), "peer", "eager"),
        "wrong": Variant(constant(2.1), "peer", "openvino"),
        "rough": Variant(constant(2.1), "context", "bf16", 0.1),
        "absent": Variant(unavailable, "peer", "absent"),
        "broken": Variant(broken, "peer", "broken"),
        "compile": Variant(constant(2.0), "peer", "compile"),
    }
    return Case(
        operator="gate",
        name="forward",
        axes="N",
        shapes=((3,),),
        problem=lambda _shape: Problem(variants, lambda: [torch.full((3,), 2.0, dtype=torch.float64)]),
        work=lambda _shape: Work(tensor_bytes=4096, reads=2, writes=1),
        tolerance=1e-4,
        target=Target(1.0, None),
        against="eager",
    )


def test_one_row_has_times_errors_reasons_and_limits() -> None:
    row = measure.measure(tiny_case(), (3,), measure.Effort(1, 0.0, compiled=False))
    json.dumps(row, allow_nan=False)
    found = {entry["name"]: entry for entry in row["variants"]}
    assert found["right"]["seconds"] > 0
    assert found["right"]["error"] == 0
    assert "seconds" in found["rough"]
    assert found["wrong"]["reason"] == "wrong values: relative error 5.0e-02, allowed 1e-04"
    assert found["absent"]["reason"] == "not today"
    assert found["broken"]["reason"] == "RuntimeError: fell over"
    assert "compile" not in found
    assert row["limit"]["seconds"] > 0
    assert set(row["limit"]) == {"fma_gflops", "read_gb_per_s", "copy_gb_per_s", "seconds"}


def test_a_measured_row_becomes_a_table_and_a_picture(tmp_path) -> None:
    document = results.new_document("2026-01-02", describe())
    row = measure.measure(tiny_case(), (3,), measure.Effort(1, 0.0))
    results.add_row(document, tiny_case(), row)
    assert "## gate: forward" in markdown(document)
    figure.draw(document, tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")


def test_limits_follow_from_the_bursts() -> None:
    work = Work(tensor_bytes=1000, reads=5, writes=2)
    seconds = {"limit fma": 1e-3, "limit read": 1e-6, "limit copy": 4e-6, "limit copy streamed": 3e-6}
    assert limits_of(seconds, work)["seconds"] == pytest.approx(3 * 1e-6 + 2 * 3e-6)
    assert limits_of(seconds, work)["copy_gb_per_s"] == pytest.approx(1 / 3)
    peak = limits_of(seconds, Work(flops=1e9))
    assert peak["seconds"] == pytest.approx(1 / peak["fma_gflops"])
    assert limits_of({}, work) == {}
    assert set(limit_variants(work)) == set(seconds)
    assert load() >= 0


def test_variants_take_turns() -> None:
    order: list[str] = []
    names = ("a", "b")
    calls = {name: lambda name=name: order.append(name) for name in names}
    times = time_in_turns(calls, rounds=2, seconds=0.0)
    assert set(times) == set(names)
    timed = order[2:]  # after one call each to see how long they take
    assert timed == ["a", "b", "a", "b"]


def test_those_that_cannot_win_stop_after_two_rounds() -> None:
    kinds = {"a": "ours", "b": "peer", "c": "peer", "d": "peer", "e": "context"}
    seconds = {"a": 1.0, "b": 10.0, "c": 19.0, "d": 21.0, "e": 21.0, "limit fma": 1.0}
    assert measure.too_slow(seconds, kinds) == {"d", "e"}
    assert measure.too_slow({"e": 5.0}, kinds) == set()
    calls = dict.fromkeys("ab", 0)

    def counted(name: str) -> Callable[[], None]:
        def call() -> None:
            calls[name] += 1

        return call

    time_in_turns({name: counted(name) for name in calls}, 5, 0.0, hopeless=lambda _seconds: {"b"})
    assert calls == {"a": 1 + 5, "b": 1 + 2}


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_errors_of_results_that_do_not_match_are_infinite() -> None:
    one = [torch.ones(2)]
    wanted = [torch.ones(2, dtype=torch.float64)]
    assert relative_error(one, wanted) == 0
    assert relative_error([], wanted) == float("inf")
    assert relative_error([torch.ones(3)], wanted) == float("inf")
    assert relative_error([torch.full((2,), torch.nan)], wanted) == float("inf")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operator} {case.name}")
def test_every_variant_of_torch_computes_the_operator(case: Case) -> None:
    row = measure.measure(case, TINY[case.axes], measure.Effort(1, 0.0, compiled=False))
    for entry in row["variants"]:
        if "onnx" in entry["name"] or "openvino" in entry["name"]:
            continue  # in the extra `bench`
        absent = entry["kind"] == "ours" and entry.get("reason", "").startswith("no native kernel")
        assert "seconds" in entry or absent, entry


def test_unknown_operators_are_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no benchmark of 'nonesuch'; there are recurrent_residual_conv"):
        cases_of("nonesuch")


def test_cases_are_told_apart() -> None:
    assert len({(case.operator, case.name) for case in CASES}) == len(CASES)
