"""Every operator against its peers and the machine's limits: one JSON file and one table a day.

python benchmarks/run.py                     all operators, into benchmarks/results/<date>.json, .md and .png
python benchmarks/run.py --only scse_gate    some (comma-separated); their rows replace today's
python benchmarks/run.py --quick             a few rounds, without compiled peers; into <date>-quick.json
python benchmarks/run.py --resume            leaves alone what today's file already has

`make bench ONLY=... QUICK=1 RESUME=1` is the same. Each operator runs in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from spinecore.bench import figure, machine, markdown, measure, results, summary
from spinecore.bench.cases import OPERATORS, cases_of

RESULTS = Path(__file__).parent / "results"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="operators, separated by commas")
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--operator", default="", help=argparse.SUPPRESS)  # what one process measures
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_operator(given: argparse.Namespace, path: Path) -> None:
    """One operator's rows, each written as soon as it is measured."""
    effort = measure.QUICK if given.quick else measure.FULL
    facts = machine.describe()
    for case in cases_of(given.operator):
        if given.case not in case.name:
            continue
        for shape in case.shapes:
            document = results.read_document(path, given.date, facts)
            if given.resume and results.has_row(document, case, shape, effort.rounds):
                continue
            start = time.perf_counter()
            row = measure.measure(case, shape, effort)
            results.add_row(document, case, row)
            results.sort_operators(document, OPERATORS)
            results.write_document(path, document)
            print(f"{case.operator} {case.name} {shape}, {time.perf_counter() - start:.0f} s")
            print_row(summary.line_of(row, case.target.every))


def print_row(line: summary.Line) -> None:
    ratio = "-" if line.ratio is None else f"{line.ratio:.2f}"
    share = "-" if line.of_limit is None else f"{100 * line.of_limit:.0f} %"
    cells = ", ".join(f"{name} {markdown.milliseconds(b.seconds)}" for name, b in line.families.items())
    print(f"    ratio {ratio}, {share} of the limit; ms: {cells}")
    for name, why in line.reasons.items():
        print(f"    not counted: {name}: {why}")
    sys.stdout.flush()


def main() -> int:
    given = arguments()
    path = RESULTS / f"{given.date}{'-quick' if given.quick else ''}.json"
    if given.operator:
        measure_operator(given, path)
        return 0
    chosen = given.only.split(",") if given.only else list(OPERATORS)
    failed = []
    for operator in chosen:
        cases_of(operator)  # refuses an unknown name before anything runs
    results.read_document(path, given.date, machine.describe())  # and results of another machine
    for operator in chosen:
        options = [option for option in ("--quick", "--resume") if getattr(given, option[2:])]
        command = [sys.executable, __file__, "--operator", operator, "--date", given.date, *options]
        done = subprocess.run([*command, "--case", given.case], check=False)
        if done.returncode != 0:
            failed.append(operator)
    if path.exists():
        document = results.read_document(path, given.date, machine.describe())
        path.with_suffix(".md").write_text(markdown.markdown(document), encoding="utf-8")
        figure.draw(document, path.with_suffix(".png"))
        for section in summary.sections(document):
            mean = "-" if section.geometric_mean is None else f"{section.geometric_mean:.2f}"
            print(f"{section.operator} {section.case}: geometric mean {mean}; {markdown.targets(section)}")
        print(f"{path}, {path.with_suffix('.md').name}, {path.with_suffix('.png').name}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except results.OtherMachine as error:
        sys.exit(f"error: {error}")
