"""How many instructions each kernel runs, within 3 % of a recorded figure: what CI can hold a kernel to.

A change on purpose is recorded with ``SPINECORE_UPDATE_COUNTS=1 python -m pytest
tests/native/test_instruction_counts.py``, and shows in the diff of counts.json. The figures are a compiler's;
for another one the same line adds them. AVX2, because valgrind knows no AVX-512.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "counts"
CHECKED = FOLDER / "counts.json"
TOLERANCE = 0.03
UPDATE = "SPINECORE_UPDATE_COUNTS=1 python -m pytest tests/native/test_instruction_counts.py"


def compiler_name(compiler: str) -> str:
    text = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    version = subprocess.run([compiler, "-dumpversion"], capture_output=True, text=True, check=True).stdout
    return f"{'clang' if 'clang' in text else 'g++'} {version.split('.')[0].strip()}"


def counted(program: Path, folder: Path) -> dict[str, int]:
    """Instructions of every workload, in the order in which they ran."""
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
    command += [f"--callgrind-out-file={folder}/out", str(program), "avx2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for path in folder.glob("out.*"):
        text = path.read_text(encoding="utf-8")
        name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        total = re.search(r"^(?:summary|totals): (\d+)$", text, re.MULTILINE)
        if name and total:
            found[name.group(1)] = int(total.group(1))
    names = done.stdout.splitlines()
    assert sorted(found) == sorted(names), done.stderr
    return {name: found[name] for name in names}


def test_every_kernel_runs_as_many_instructions_as_recorded(
    build: Callable[..., Path], compiler: str, tmp_path: Path
) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind")
    name = compiler_name(compiler)
    known: dict[str, dict[str, int]] = json.loads(CHECKED.read_text(encoding="utf-8"))
    update = bool(os.environ.get("SPINECORE_UPDATE_COUNTS"))
    if name not in known and not update:
        pytest.skip(f"no instruction counts of {name}: add them with {UPDATE}")
    sources = sorted(FOLDER.glob("*.cpp"))
    program = build(tmp_path, sources, ["baseline", "avx2"], ["-O3"], only_linked=["baseline"])
    counts = counted(program, tmp_path)
    if update:
        text = json.dumps({**known, name: counts}, indent=1)
        CHECKED.write_text(text + "\n", encoding="utf-8")
        return
    wrong = [
        f"{workload}: {counts.get(workload)} instructions, recorded {known[name].get(workload)}"
        for workload in {**known[name], **counts}
        if not within(counts.get(workload), known[name].get(workload))
    ]
    assert not wrong, "\n".join([*wrong, f"if that is meant: {UPDATE}"])


def within(count: int | None, recorded: int | None) -> bool:
    return count is not None and recorded is not None and abs(count - recorded) <= TOLERANCE * recorded
