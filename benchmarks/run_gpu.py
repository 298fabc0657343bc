"""The operators on a GPU: times beside the prediction, into benchmarks/results/<date>-<GPU>.md and .json.

python benchmarks/run_gpu.py                     everything (`make bench DEVICE=cuda`)
python benchmarks/run_gpu.py --only conv3x3      some, comma-separated
python benchmarks/run_gpu.py --quick             three rounds, without compiled peers
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from spinecore.bench import gpu, roofline

RESULTS = Path(__file__).parent / "results"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="operators, separated by commas")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.operators = given.only.split(",") if given.only else list(gpu.PROBLEMS)
    for name in given.operators:
        if name not in gpu.PROBLEMS:
            parser.error(f"--only {name}: there is no such operator; use some of {', '.join(gpu.PROBLEMS)}")
    return given


def main() -> int:
    given = arguments()
    if not torch.cuda.is_available():
        print("error: torch finds no CUDA device here; `spinecore doctor` says why", file=sys.stderr)
        return 1
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32 to every variant
    torch.backends.cudnn.benchmark = True
    device, name = torch.device("cuda"), torch.cuda.get_device_name()
    rows: list[gpu.Row] = []
    for operator in given.operators:
        _, shapes, elements = roofline.OPERATORS[operator]
        for shape in shapes:
            for element in elements:
                torch._dynamo.reset()
                rounds = 3 if given.quick else 9
                rows += gpu.measure(operator, shape, element, device, compiled=not given.quick, rounds=rounds)
                print(gpu.markdown(rows[-2:], name), flush=True)
    stem = f"{time.strftime('%Y-%m-%d')}-{name.replace(' ', '-').replace('/', '-')}"
    (RESULTS / f"{stem}.md").write_text(gpu.markdown(rows, name), encoding="utf-8")
    (RESULTS / f"{stem}.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(f"{RESULTS / stem}.md and .json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
